// Tables: sorted, filtered, copied.
const FIRST_ROWS = 60;

const isRate = (cell) => Array.isArray(cell);
const numberOf = (cell) => isRate(cell) ? cell[0] : cell;
function textOf(cell) {
  if (isRate(cell)) return cell[0] === null ? "n/a" : (cell[0] > 0 ? "+" : "") + cell[0].toFixed(2) + (cell[1] === null ? "" : ` [${cell[1].toFixed(1)} ${cell[2].toFixed(1)}]`);
  if (cell === null) return "";
  return typeof cell === "number" ? String(cell) : cell;
}

function setUpTable(table, box) {
  const state = {by: null, down: false, words: "", rows: FIRST_ROWS};
  const filter = make("input", {type: "search", placeholder: "filter", "aria-label": `Filter ${table.title}`});
  filter.addEventListener("input", () => { state.words = filter.value.toLowerCase(); draw(); });
  const copies = [["Markdown", asMarkdown], ["CSV", asCsv], ["LaTeX", asLatex]].map(([name, write]) => {
    const button = make("button", {type: "button", textContent: name});
    button.setAttribute("aria-label", `Copy ${table.title} as ${name}`);
    button.addEventListener("click", () => copyText(write(table.columns, rows()), button));
    return button;
  });
  const more = make("button", {type: "button", textContent: "Show all rows"});
  more.addEventListener("click", () => { state.rows = Infinity; draw(); });
  const body = make("tbody"), heads = make("tr"), count = make("span", {className: "note"});
  heads.append(...table.columns.map((title, column) => {
    const button = make("button", {type: "button", textContent: title});
    button.addEventListener("click", () => { state.down = state.by === column && !state.down; state.by = column; draw(); });
    const text = table.rows.length && table.rows.every((row) => typeof row[column] === "string");
    return make("th", {scope: "col", className: text ? "text" : ""}, button);
  }));
  const grid = make("div", {className: "table-box", tabIndex: 0}, make("table", {}, make("thead", {}, heads), body));
  grid.setAttribute("role", "region");
  grid.setAttribute("aria-label", table.title);
  box.append(make("div", {className: "table", id: `table-${table.id}`},
    table.title ? make("h3", {textContent: table.title}) : null, table.note ? make("p", {className: "note", textContent: table.note}) : null,
    make("div", {className: "controls"}, filter, make("span", {textContent: "Copy as"}), ...copies, count), grid, more));

  function rows() {
    const words = state.words.split(/\s+/).filter(Boolean);
    const kept = table.rows.filter((row) => !(table.variant !== null && hiddenVariants.has(row[table.variant])))
      .filter((row) => { const text = row.map(textOf).join(" ").toLowerCase(); return words.every((word) => text.includes(word)); });
    if (state.by === null) return kept;
    const sign = state.down ? -1 : 1;
    return [...kept].sort((a, b) => {
      const [x, y] = [numberOf(a[state.by]), numberOf(b[state.by])];
      if (x === null || y === null) return (x === null) - (y === null);  // what has no number comes last
      return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true}));
    });
  }

  function draw() {
    const kept = rows();
    body.replaceChildren(...kept.slice(0, state.rows).map((row) => make("tr", {}, ...row.map(cellOf))));
    all("th", heads).forEach((one, column) => one.setAttribute("aria-sort", column !== state.by ? "none" : state.down ? "descending" : "ascending"));
    more.hidden = kept.length <= state.rows;
    count.textContent = `${kept.length} of ${table.rows.length} rows`;
  }
  variantsChanged.push(draw);
  draw();
}

function cellOf(cell) {
  if (!isRate(cell)) return make("td", {className: typeof cell === "string" ? "text" : "", textContent: textOf(cell)});
  const [value, low, high, reason] = cell;
  const open = low !== null && low <= 0 && high >= 0;
  return make("td", {className: value === null || open ? "" : value < 0 ? "good" : "bad", title: reason || ""},
    value === null ? "n/a" : (value > 0 ? "+" : "") + value.toFixed(2),
    low === null ? null : make("small", {textContent: `${low.toFixed(1)} to ${high.toFixed(1)}`}));
}

function asMarkdown(columns, rows) {
  const line = (cells) => "| " + cells.map((one) => one.replace(/\\/g, "\\\\").replace(/\|/g, "\\|").replace(/</g, "&lt;")).join(" | ") + " |";
  return [line(columns), "|" + columns.map(() => "---|").join(""), ...rows.map((row) => line(row.map(textOf)))].join("\n") + "\n";
}

function asCsv(columns, rows) {
  const quote = (text) => /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  const cells = (row) => row.flatMap((one, column) => rated[column] ? (isRate(one) ? one.slice(0, 3) : [one, null, null]) : [one])
    .map((one) => one === null ? "" : quote(String(one)));
  const rated = columns.map((_, column) => rows.some((row) => isRate(row[column])));
  const heads = columns.flatMap((title, column) => rated[column] ? [title, `${title} low`, `${title} high`] : [title]).map(quote);
  return [heads, ...rows.map(cells)].map((row) => row.join(",")).join("\n") + "\n";
}

function asLatex(columns, rows) {
  const names = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"};
  const safe = (text) => text.replace(/[\\&%$#_{}~^]/g, (one) => names[one] || "\\" + one).replace(/^-(?=\d)/, "$-$");
  const line = (cells) => cells.map(safe).join(" & ") + " \\\\";
  const kinds = columns.map((_, column) => rows.every((row) => typeof row[column] === "string") ? "l" : "r").join("");
  return [`\\begin{tabular}{${kinds}}`, "\\hline", line(columns), "\\hline", ...rows.map((row) => line(row.map(textOf))), "\\hline", "\\end{tabular}"].join("\n") + "\n";
}

function setUpTables() {
  data.tables.forEach((one) => setUpTable(one, find("#all-tables")));
  if (!data.tables.length) find("#all-tables").append(make("p", {className: "note", textContent: "No rows yet."}));
  find("#commands").addEventListener("toggle", setUpCommands, {once: true});
}

function setUpCommands() {
  const rows = data.places.filter((place) => place.id.startsWith("item")).flatMap((place) => place.runs.flatMap((run) =>
    run.command.map((command, index) => [place.title, data.encoders[run.encoder], run.variant, run.value[index], run.bits[index], command])));
  if (rows.length) setUpTable({id: "commands", title: "", note: "", columns: ["item", "encoder", "variant", "QP or CRF", "bits", "command"], rows, variant: 2}, find("#command-table"));
}
