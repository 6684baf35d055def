// Rate curves with plotly, drawn when they come into view.
let data = null, plotlyReady = null;

function loadPlotly() {
  plotlyReady = plotlyReady || unpacked("plotly").then((code) => {
    document.head.append(make("script", {textContent: code}));
    window.Plotly.setPlotConfig({plotlyServerURL: "", showLink: false});
  });
  return plotlyReady;
}

// A line that has to be seen on both grounds: black becomes the text's colour.
const lineColour = (colour) => colour === "#000000" ? cssColour("--fg") : colour;
const shapes = {
  circle: "M0-5A5 5 0 1 1 0 5 5 5 0 1 1 0-5Z", square: "M-4.5-4.5H4.5V4.5H-4.5Z", diamond: "M0-6 6 0 0 6-6 0Z",
  "triangle-up": "M0-6 6 5H-6Z", "triangle-down": "M0 6 6-5H-6Z", cross: "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
  x: "M-5-3-3-5 0-2 3-5 5-3 2 0 5 3 3 5 0 2-3 5-5 3-2 0Z", star: "M0-6 1.6-2 6-2 2.4.8 3.8 5.5 0 2.6-3.8 5.5-2.4.8-6-2-1.6-2Z",
  pentagon: "M0-6 6-1.5 3.6 5H-3.6L-6-1.5Z", hexagon: "M-3-5H3L6 0 3 5H-3L-6 0Z",
};

function symbolOf(look) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 34); svg.setAttribute("height", 14); svg.setAttribute("aria-hidden", "true");
  const dash = {solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4"}[look.dash];
  const draw = (name, attributes) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    svg.append(one);
  };
  const colour = look.colour === "#000000" ? "var(--fg)" : look.colour;
  draw("path", {d: "M1 7H33", style: `stroke:${colour};stroke-width:2`, "stroke-dasharray": dash});
  draw("path", {d: shapes[look.symbol], transform: "translate(17 7)", style: `fill:${colour}`});
  return svg;
}

function setUpCurves() {
  options(find("#curve-place"), data.places.map((one, number) => [String(number), one.title]), String(Math.max(0, data.places.findIndex((one) => one.runs.some((run) => run.rate.length)))));
  options(find("#curve-encoder"), Object.entries(data.encoders), Object.keys(data.encoders)[0]);
  for (const [variant, look] of Object.entries(data.looks)) {
    const box = make("input", {type: "checkbox", checked: true, value: variant});
    box.addEventListener("change", () => {
      if (box.checked) hiddenVariants.delete(variant); else hiddenVariants.add(variant);
      variantsChanged.forEach((run) => run());
    });
    find("#variants").append(make("label", {}, box, symbolOf(look), variant));
  }
  if (data.without_curves) {
    find("#without-curves").hidden = false;
    find("#without-curves").textContent = `${data.without_curves} more items have no curves of their own here; the store's points.csv has all points.`;
  }
  for (const id of ["#curve-place", "#curve-encoder", "#curve-all"]) find(id).addEventListener("change", layOut);
  variantsChanged.push(() => all("#plots .plot").forEach((one) => { if (one.drawn) drawPlot(one); }));
  themeChanged.push(() => all("#plots .plot").forEach((one) => { if (one.drawn) drawPlot(one); }));
  layOut();
}

// The picture's cost and the first measure of each task, unless all are asked for.
function chosenMeasures() {
  if (find("#curve-all").checked) return data.measures;
  const seen = new Set();
  return data.measures.filter((one) => {
    const task = one.key.slice(0, one.key.lastIndexOf("/"));
    const first = !seen.has(task);
    seen.add(task);
    return first;
  });
}

const watcher = new IntersectionObserver((entries) => {
  for (const one of entries) if (one.isIntersecting) { watcher.unobserve(one.target); loadPlotly().then(() => drawPlot(one.target)); }
}, {rootMargin: "200px"});

function layOut() {
  const box = find("#plots");
  all(".plot", box).forEach((one) => { watcher.unobserve(one); if (one.drawn && window.Plotly) window.Plotly.purge(one.lastChild); });
  box.replaceChildren(...chosenMeasures().map((measure) => {
    const plot = make("div", {className: "plot"}, make("h3", {textContent: measure.title}), make("div", {}));
    plot.measure = measure;
    return plot;
  }));
  all(".plot", box).forEach((one) => watcher.observe(one));
}

function tracesOf(place, encoder, measure) {
  const traces = [];
  for (const run of place.runs) {
    const scores = run.scores[measure.key];
    if (run.encoder !== encoder || !scores || hiddenVariants.has(run.variant)) continue;
    const look = data.looks[run.variant], colour = lineColour(look.colour);
    const fit = run.fits[measure.key];
    const safe = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    if (fit) traces.push({x: fit[0], y: fit[1], mode: "lines", line: {color: colour, dash: look.dash, width: 2}, hoverinfo: "skip", name: safe(run.variant)});
    traces.push({
      x: run.rate, y: scores, mode: "markers", name: safe(run.variant), customdata: run.value.map((value, index) => [run, index]),
      marker: {color: colour, symbol: look.symbol, size: 8},
      text: run.value.map((value, index) => `<b>${safe(run.variant)}</b>, QP or CRF ${value}<br>`
        + (run.bits ? `${run.bits[index].toLocaleString("en")} bits, ` : "") + `${run.rate[index].toPrecision(4)} bits per sample, ${run.kbps[index].toPrecision(5)} kbit/s`
        + (run.command ? "<br>" + safe(run.command[index]).slice(0, 600).replace(/(.{1,90})( |$)/g, "$1<br>") : "")),
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  return traces;
}

// 1, 2 and 5 times the powers of ten, in the range of what is shown.
function niceTicks(place, encoder) {
  const rates = place.runs.filter((run) => run.encoder === encoder).flatMap((run) => run.rate);
  const found = [], low = Math.min(...rates) / 1.3, high = Math.max(...rates) * 1.3;
  for (let power = -6; power < 4; power++) for (const one of [1, 2, 5]) if (one * 10 ** power >= low && one * 10 ** power <= high) found.push(Number((one * 10 ** power).toPrecision(1)));
  return found;
}

function drawPlot(plot) {
  const place = data.places[Number(find("#curve-place").value)], encoder = find("#curve-encoder").value;
  const traces = tracesOf(place, encoder, plot.measure), target = plot.lastChild;
  plot.drawn = true;
  if (!traces.length) {
    window.Plotly.purge(target);
    target.replaceChildren(make("p", {className: "none", textContent: "No points: nothing is done yet, or all variants are switched off."}));
    return;
  }
  if (!target.layout) target.replaceChildren();
  const axis = {gridcolor: cssColour("--grid"), linecolor: cssColour("--line"), zeroline: false, automargin: true};
  window.Plotly.react(target, traces, {
    height: 300, margin: {l: 56, r: 12, t: 8, b: 44}, showlegend: false, hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: cssColour("--fg"), size: 12},
    hoverlabel: {align: "left", bgcolor: cssColour("--card"), bordercolor: cssColour("--line"), font: {color: cssColour("--fg"), size: 11}},
    xaxis: {...axis, type: "log", title: {text: "bits per luma sample"}, tickvals: niceTicks(place, encoder)},
    yaxis: {...axis, title: {text: plot.measure.axis.replace(/</g, "&lt;")}},
  }, {displaylogo: false, responsive: true, displayModeBar: false});
  if (!target.listens) {
    target.listens = true;
    target.on("plotly_click", (event) => showPoint(...event.points[0].customdata));
  }
}

function showPoint(run, index) {
  const text = run.command ? run.command[index] : "";
  const button = make("button", {type: "button", textContent: "Copy the command"});
  button.addEventListener("click", () => copyText(text, button));
  find("#point").replaceChildren(
    make("b", {textContent: `${data.encoders[run.encoder]}, ${run.variant}, QP or CRF ${run.value[index]}`}),
    make("div", {textContent: `${run.bits ? run.bits[index].toLocaleString("en") + " bits, " : ""}${run.rate[index]} bits per luma sample`}),
    ...(text ? [make("pre", {className: "wrap", tabIndex: 0, textContent: text}), button] : [make("div", {textContent: "A mean over items has no command; choose an item above."})]),
  );
}
