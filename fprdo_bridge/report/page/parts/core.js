// Helpers: elements, unpacking, the theme.
const find = (query, root) => (root || document).querySelector(query);
const all = (query, root) => [...(root || document).querySelectorAll(query)];

function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key in element && key !== "list") element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children.filter((one) => one !== null && one !== undefined));
  return element;
}

async function unpacked(id) {
  const text = find("#" + id).textContent;
  if (!text) return "";
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const themeChanged = [];
const isDark = () => {
  const own = document.documentElement.dataset.theme;
  return own ? own === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function nameTheme() {
  find("#theme").textContent = isDark() ? "Light" : "Dark";
  find("#theme").setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
}
find("#theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
  themeChanged.forEach((run) => run());
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { nameTheme(); themeChanged.forEach((run) => run()); });
nameTheme();

async function copyText(text, button) {
  const was = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {  // a file that is opened from the disk may not have the clipboard
    const area = make("textarea", {value: text});
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = was; }, 1200);
}

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => make("option", {value, textContent: text, selected: value === chosen})));
}

const hiddenVariants = new Set();
const variantsChanged = [];
