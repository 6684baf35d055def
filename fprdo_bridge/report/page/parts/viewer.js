// Pictures: two versions under a slider, errors, weights, QP offsets, blocks, boxes.
const pictures = all(".picture-data"), parsed = new Map();  // parsed when they are looked at
let shown = null;
const STEPS = 16, MIDDLE = 128;
const images = new Map();

function bytesOf(uri) {  // red samples of a picture
  if (!images.has(uri)) images.set(uri, new Promise((resolve) => {
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas", {width: image.width, height: image.height});
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const pixels = context.getImageData(0, 0, image.width, image.height).data;
      const values = new Uint8Array(image.width * image.height);
      for (let i = 0; i < values.length; i++) values[i] = pixels[4 * i];
      resolve({width: image.width, height: image.height, values});
    };
    image.src = uri;
  }));
  return images.get(uri);
}

const colourAt = (index) => { const at = 6 * Math.max(0, Math.min(255, Math.round(index))); return [0, 2, 4].map((i) => parseInt(data.palette.substr(at + i, 2), 16)); };

function paint(canvas, width, height, indexOf, alpha) {
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = colourAt(indexOf(i));
    image.data.set([r, g, b, alpha], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function setUpViewer() {
  if (!pictures.length) return;
  all("#thumbs button").forEach((button, number) => button.addEventListener("click", () => choose(number)));
  for (const id of ["#left", "#right", "#what", "#overlay"]) find(id).addEventListener("change", refresh);
  find("#zoom").addEventListener("change", zoom);
  find("#slide").addEventListener("input", slide);
  const stage = find("#sheet");
  let drags = false;
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    find("#slide").value = 100 * (event.clientX - box.left) / box.width;
    slide();
  };
  stage.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") event.preventDefault(); drags = true; follow(event); });
  stage.addEventListener("pointermove", (event) => { if (drags) follow(event); });
  addEventListener("pointerup", () => { drags = false; });
  addEventListener("pointercancel", () => { drags = false; });
  themeChanged.push(refresh);
  variantsChanged.push(listVersions);
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((one) => one.isIntersecting)) return;
    near.disconnect();
    if (!shown) choose(0);
  }, {rootMargin: "600px"});
  near.observe(find("#pictures"));
}

const versionName = (one) => `${one.encoder}, ${one.variant}`;

function listVersions() {
  if (!shown) return;
  const before = [find("#left").value, find("#right").value];
  const entries = shown.versions.map((one, number) => [String(number), versionName(one), one.variant]).filter((one) => !hiddenVariants.has(one[2]));
  if (shown.original) entries.push(["original", "original"]);
  const values = entries.map((one) => one[0]);
  const stock = entries.length ? entries[0][0] : "";
  const weighted = (entries.find((one) => shown.versions[one[0]] && shown.versions[one[0]].offsets) || entries[1] || entries[0] || [""])[0];
  options(find("#left"), entries, values.includes(before[0]) ? before[0] : stock);
  options(find("#right"), entries, values.includes(before[1]) ? before[1] : weighted);
  refresh();
}

function choose(number) {
  if (!parsed.has(number)) parsed.set(number, JSON.parse(pictures[number].textContent));
  shown = parsed.get(number);
  all("#thumbs button").forEach((one, index) => one.setAttribute("aria-pressed", index === number));
  const what = [["picture", "the picture"]], overlay = [["", "nothing"]];
  if (shown.versions.some((one) => one.errors)) what.push(["errors", "errors, plain"]);
  if (shown.versions.some((one) => one.errors) && shown.weights) what.push(["weighted", "errors, weighted"]);
  if (shown.weights) overlay.push(["weights", "what the network sees"]);
  if (shown.versions.some((one) => one.offsets)) overlay.push(["offsets", "QP offsets of the weights"]);
  if (shown.versions.some((one) => one.blocks)) overlay.push(["blocks", "blocks and QPs of the bitstream"]);
  if (shown.versions.some((one) => one.boxes.length)) overlay.push(["boxes", "what the network found"]);
  const keep = (id, entries) => options(find(id), entries, entries.some((one) => one[0] === find(id).value) ? find(id).value : entries[0][0]);
  keep("#what", what);
  keep("#overlay", overlay);
  find("#picture-notes").replaceChildren(...shown.notes.map((one) => make("li", {textContent: one})));
  find("#stage").hidden = !shown.versions.length && !shown.original;
  zoom();
  listVersions();
}

function zoom() {
  if (!shown) return;
  const times = Number(find("#zoom").value), sheet = find("#sheet");
  sheet.style.aspectRatio = `${shown.width} / ${shown.height}`;
  sheet.style.width = times ? `${shown.width * times}px` : "100%";
  slide();
}

function slide() {
  const share = Number(find("#slide").value);
  find("#side-left").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  find("#side-right").style.clipPath = `inset(0 0 0 ${share}%)`;
  find("#bar").style.left = `${share}%`;
}

function versionAt(id) {
  const value = find(id).value;
  return value === "original" ? {picture: shown.original, encoder: "original", variant: "", original: true, scores: [], boxes: []} : shown.versions[Number(value)];
}

async function refresh() {
  if (!shown) return;
  const what = find("#what").value, overlay = find("#overlay").value;
  for (const [id, side] of [["#left", "#side-left"], ["#right", "#side-right"]]) {
    const one = versionAt(id);
    if (one) await drawSide(find(side), one, what, overlay);
    else find(side).replaceChildren();
  }
  describe(what, overlay);
}

async function drawSide(side, one, what, overlay) {
  const parts = [];
  const name = one.original ? `${shown.item}, the original` : `${shown.item} by ${versionName(one)}, ${one.bits} bits`;
  if (what === "picture" || one.original || !one.errors) {
    parts.push(make("img", {src: one.picture, alt: name, draggable: false, className: Number(find("#zoom").value) > 1 ? "crisp" : ""}));
  } else {
    const errors = await bytesOf(one.errors), weights = what === "weighted" ? await bytesOf(shown.weights) : null;
    const canvas = make("canvas", {role: "img"});
    canvas.setAttribute("aria-label", `Map of the ${what === "weighted" ? "weighted " : ""}errors of ${name}`);
    // 1/16 .. 1024 in squared code values: 14 octaves of 16 steps
    paint(canvas, errors.width, errors.height, (i) => (errors.values[i] + (weights ? weights.values[i] - MIDDLE : 0)) * 255 / (14 * STEPS), 255);
    parts.push(canvas);
  }
  const canvas = make("canvas", {role: "img"});
  canvas.setAttribute("aria-label", overlay ? `${find("#overlay").selectedOptions[0].textContent}, over ${name}` : "");
  if (overlay === "weights") {
    const weights = await bytesOf(shown.weights);
    paint(canvas, weights.width, weights.height, (i) => ((weights.values[i] - MIDDLE) / STEPS + data.octaves) * 255 / (2 * data.octaves), 190);
    parts.push(canvas);
  } else if (overlay && drawLines(canvas, one, overlay)) parts.push(canvas);
  side.replaceChildren(...parts);
}

// Blocks, offsets and boxes, at twice the picture's size so that numbers stay sharp.
function drawLines(canvas, one, overlay) {
  const scale = Math.min(3, Math.max(1, 3000 / shown.width));
  canvas.width = shown.width * scale; canvas.height = shown.height * scale;
  canvas.style.imageRendering = "auto";
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const cells = [];
  let middle = 0;
  if (overlay === "offsets" && one.offsets) {
    const size = one.offsets.size;
    one.offsets.rows.forEach((row, y) => row.forEach((value, x) => cells.push([x * size, y * size, size, size, value, value > 0 ? "+" + value : String(value)])));
  } else if (overlay === "blocks" && one.blocks) {
    for (let i = 0; i < one.blocks.length; i += 6) cells.push([...one.blocks.slice(i, i + 5), String(one.blocks[i + 4]), one.blocks[i + 5]]);
    middle = cells.reduce((sum, cell) => sum + cell[4] * cell[2] * cell[3], 0) / cells.reduce((sum, cell) => sum + cell[2] * cell[3], 0);
  } else if (overlay === "boxes") {
    context.lineWidth = 2.5;
    context.font = "bold 13px system-ui, sans-serif";
    for (const found of one.boxes) {
      const [x, y, width, height] = found.box, text = `${found.label}: ${found.score}`;
      context.strokeStyle = "#000"; context.strokeRect(x - 1, y - 1, width + 2, height + 2);
      context.strokeStyle = "#ffd400"; context.strokeRect(x, y, width, height);
      context.fillStyle = "#000"; context.fillRect(x, y, context.measureText(text).width + 8, 17);
      context.fillStyle = "#ffd400"; context.fillText(text, x + 4, y + 13);
    }
    return one.boxes.length > 0;
  }
  for (const [x, y, width, height, value, text, mode] of cells) {
    const far = Math.min(1, Math.abs(value - middle) / 6);
    context.fillStyle = value > middle ? `rgba(213,94,0,${0.5 * far})` : `rgba(0,114,178,${0.6 * far})`;
    context.fillRect(x, y, width, height);
    context.strokeStyle = "rgba(255,255,255,.55)"; context.lineWidth = 0.5;
    context.strokeRect(x + 0.25, y + 0.25, width - 0.5, height - 0.5);
    if (mode >= 2) drawDirection(context, x + width / 2, y + height / 2, 0.42 * width, mode);
    const size = Math.min(12, 0.4 * Math.min(width, height) + 0.5);
    if (size < (mode === undefined ? 3 : 5)) continue;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center"; context.textBaseline = "middle";
    context.strokeStyle = "rgba(0,0,0,.8)"; context.lineWidth = size / 5;
    context.strokeText(text, x + width / 2, y + height / 2);
    context.fillStyle = "#fff"; context.fillText(text, x + width / 2, y + height / 2);
  }
  return cells.length > 0;
}

// The line along which an angular mode of HEVC copies samples, table 8-4.
function drawDirection(context, x, y, reach, mode) {
  const angles = [32, 26, 21, 17, 13, 9, 5, 2, 0, -2, -5, -9, -13, -17, -21, -26];
  const angle = mode < 18 ? angles[mode - 2] : angles[34 - mode] === undefined ? -32 : angles[34 - mode];
  const [dx, dy] = mode < 18 ? [-32, angle] : [angle, -32];
  const scale = reach / Math.hypot(dx, dy);
  context.beginPath();
  context.moveTo(x - dx * scale, y - dy * scale);
  context.lineTo(x + dx * scale, y + dy * scale);
  context.strokeStyle = "rgba(255,212,0,.8)"; context.lineWidth = 0.8;
  context.stroke();
}

function describe(what, overlay) {
  const sides = [versionAt("#left"), versionAt("#right")].filter(Boolean);
  const coded = sides.filter((one) => !one.original);
  let text = coded.map((one) => `${versionName(one)}: ${one.bits.toLocaleString("en")} bits (QP or CRF ${one.value})`).join("; ");
  if (coded.length === 2) {
    const percent = 100 * (coded[1].bits / coded[0].bits - 1);
    text += `. The right one has ${Math.abs(percent).toFixed(1)} % ${percent < 0 ? "less" : "more"} bits: of the points that were run these are the nearest.`;
  }
  if (shown.frame !== null) text = `Frame ${shown.frame}. ` + text;
  if (overlay === "blocks" && coded.some((one) => !one.blocks)) text += " Blocks that are not shown could not be read back: see the page's documentation.";
  if (overlay === "blocks" && coded.some((one) => one.blocks && one.blocks[5] >= 0)) text += " Yellow lines are directions of intra prediction; numbers are QPs, in blocks that have room.";
  if (overlay === "offsets" && coded.some((one) => !one.offsets)) text += " A version without weights has no offsets.";
  find("#bits").textContent = text;
  const titles = [...new Set(coded.flatMap((one) => one.scores.map((score) => score[0])))];
  const valueOf = (one, title) => { const found = one.scores.find((score) => score[0] === title); return found ? String(found[1]) : ""; };
  const note = (title) => (coded.flatMap((one) => one.scores).find((score) => score[0] === title) || [])[2] || "";
  find("#scores").replaceChildren(titles.length ? make("table", {},
    make("thead", {}, make("tr", {}, make("th", {scope: "col", className: "text", textContent: "score of these two"}), ...coded.map((one) => make("th", {scope: "col", textContent: versionName(one)})), make("th", {scope: "col", className: "text", textContent: ""}))),
    make("tbody", {}, ...titles.map((title) => make("tr", {}, make("th", {scope: "row", className: "text", textContent: title}), ...coded.map((one) => make("td", {textContent: valueOf(one, title)})), make("td", {className: "text note", textContent: note(title)}))))) : "");
  const scale = find("#scale"), words = what !== "picture" ? ["errors 1/16", "1024 (squared code values)"] : overlay === "weights" ? [`weight 1/${2 ** data.octaves}`, `${2 ** data.octaves} (1 is the mean)`] : null;
  scale.hidden = !words;
  if (words) {
    const bar = make("i", {});
    bar.style.background = `linear-gradient(90deg, ${[0, 64, 128, 192, 255].map((one) => `rgb(${colourAt(one)})`).join(",")})`;
    scale.replaceChildren(make("span", {textContent: words[0]}), bar, make("span", {textContent: words[1]}));
  }
}
