// Everything that needs the packed numbers.
const choice = find("#forest-choice");
if (choice) choice.addEventListener("change", () => all(".forest-one").forEach((one) => { one.hidden = one.dataset.index !== choice.value; }));

for (const block of all("pre.copy")) {
  const button = make("button", {type: "button", textContent: "Copy"});
  const text = block.textContent;
  button.addEventListener("click", () => copyText(text, button));
  block.after(button);
}

unpacked("packed").then((text) => {
  data = JSON.parse(text);
  setUpCurves();
  setUpTables();
  setUpViewer();
  document.documentElement.dataset.ready = "yes";
});
