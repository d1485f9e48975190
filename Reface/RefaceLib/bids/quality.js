"use strict";
// The quality pages: sorting, choosing, and marks. A page cannot write files, so the browser keeps the marks.

const body = document.querySelector("tbody");
const rows = Array.from(body.rows);
const root = new URL(document.documentElement.dataset.root, location.href).pathname; // marks are of one folder
const KEY = "reface marks " + root;
const CHOSEN = "reface chosen " + location.pathname;
const MARKS = ["accepted", "rejected"];
const find = (id) => document.getElementById(id);
const tell = (text) => { find("told").textContent = text; };

// ---- marks: {file: [mark, SHA-256 of the output that was judged]}; "" takes a mark of marks.tsv back ----

let kept = {};

function load() {
  try {
    kept = JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    tell("This browser keeps no marks of this page: save them before you leave it.");
  }
}

function change(marks) {
  load(); // another page may have changed others
  Object.assign(kept, marks);
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    tell("This browser keeps no marks of this page: save them before you leave it.");
  }
  showMarks();
}

function markOf(row) {
  const [mark, sha] = kept[row.dataset.file] || [row.dataset.mark || "", row.dataset.of || ""];
  return { mark, former: Boolean(mark) && sha !== row.dataset.sha };
}

function showMarks() {
  const counts = { accepted: 0, rejected: 0, shown: 0 };
  for (const row of rows) {
    const { mark, former } = markOf(row);
    const shown = former ? "" : mark;
    if (shown) counts[mark] += 1;
    if (!row.hidden) counts.shown += 1;
    const told = former ? `was ${mark}; the volume has changed since` : "";
    if (row.dataset.shown !== shown || row.dataset.told !== told) showMark(row, shown, told);
  }
  find("count").textContent =
    `${counts.shown} of ${rows.length} shown, ${counts.accepted} accepted, ${counts.rejected} rejected`;
}

function showMark(row, shown, told) {
  row.dataset.shown = shown;
  row.dataset.told = told;
  const cell = row.lastElementChild; // a selector such as ".mark small" takes a browser longer the more rows there are
  cell.querySelector("small").textContent = told;
  for (const button of cell.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === shown));
  }
}

function give(row, mark) {
  if (row) change({ [row.dataset.file]: [mark, row.dataset.sha] });
}

function table() {
  const lines = ["file\tmark\tsha256"];
  const all = Object.fromEntries(rows.map((row) => [row.dataset.file, [row.dataset.mark || "", row.dataset.of || ""]]));
  for (const [file, [mark, sha]] of Object.entries({ ...all, ...kept })) {
    if (mark) lines.push([file, mark, sha || "n/a"].join("\t"));
  }
  return lines.join("\n") + "\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/tab-separated-values" }));
  link.download = "marks.tsv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function read(text) {
  const [head, ...lines] = text.replace(/^\ufeff/, "").split(/\r?\n/).map((line) => line.split("\t"));
  const [file, mark, sha] = ["file", "mark", "sha256"].map((name) => head.indexOf(name));
  const filled = lines.filter((line) => line.length > 1);
  if (file < 0 || mark < 0 || !filled.every((line) => MARKS.includes(line[mark]))) {
    tell("This file is no table of marks: choose a marks.tsv that was saved here.");
    return;
  }
  change(Object.fromEntries(filled.map((line) => [line[file], [line[mark], (line[sha] || "").replace("n/a", "")]])));
  tell(`${filled.length} marks were read.`);
}

// ---- which row ----

let chosen = null;

function choose(row, scroll = true) {
  if (!row) return;
  if (chosen) {
    chosen.classList.remove("chosen");
    chosen.removeAttribute("aria-current");
  }
  chosen = row;
  row.classList.add("chosen");
  row.setAttribute("aria-current", "true");
  if (scroll) row.scrollIntoView({ block: "nearest" });
  try {
    sessionStorage.setItem(CHOSEN, row.dataset.file);
  } catch { /* it is only a convenience */ }
}

function move(by) {
  const shown = Array.from(body.rows).filter((row) => !row.hidden);
  const at = shown.indexOf(chosen);
  choose(at < 0 ? shown[0] : shown[Math.min(shown.length - 1, Math.max(0, at + by))]);
}

function follow(rel) {
  const link = rel && document.querySelector(rel);
  if (link) link.click();
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  a: () => give(chosen, "accepted"),
  r: () => give(chosen, "rejected"),
  u: () => give(chosen, ""),
  o: () => chosen && chosen.querySelector("a") && chosen.querySelector("a").click(),
  i: () => follow("a[rel=up]"),
  n: () => follow("a[rel=next]"),
  p: () => follow("a[rel=prev]"),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

body.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  choose(row, false);
  const button = event.target.closest("button");
  if (button) give(row, button.value === row.dataset.shown ? "" : button.value);
});

// ---- order and filters ----

const collator = new Intl.Collator("en", { numeric: true });

function sort(th) {
  const column = th.cellIndex;
  const sign = th.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of document.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  th.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const text = (row) => {
    if (th.dataset.by === "mark") return row.dataset.shown;
    const cell = row.cells[column];
    return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
  };
  const keyed = rows.map((row) => [text(row), row]);
  keyed.sort(([a], [b]) => (a === "" || b === "" ? Number(a === "") - Number(b === "") : sign * collator.compare(a, b)));
  body.append(...keyed.map(([, row]) => row));
  if (chosen) chosen.scrollIntoView({ block: "nearest" });
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}

const SHOWN = {
  all: () => true,
  look: (row) => ["look", "failed"].includes(row.dataset.verdict),
  unmarked: (row) => !row.dataset.shown,
  accepted: (row) => row.dataset.shown === "accepted",
  rejected: (row) => row.dataset.shown === "rejected",
};

function filter() {
  const words = find("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = SHOWN[find("shown").value];
  for (const row of rows) {
    const text = `${row.dataset.file} ${row.textContent}`.toLowerCase();
    row.hidden = !(wanted(row) && words.every((word) => text.includes(word)));
  }
  showMarks();
}

if (find("words")) {
  find("words").addEventListener("input", filter);
  find("shown").addEventListener("change", filter);
  find("save").addEventListener("click", save);
  find("load").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) read(await file.text());
    event.target.value = "";
  });
}

window.addEventListener("storage", (event) => {
  if (event.key === KEY) {
    load();
    showMarks();
  }
});
window.addEventListener("pageshow", () => {
  load();
  showMarks();
});

load();
showMarks();
try {
  const former = sessionStorage.getItem(CHOSEN);
  choose(rows.find((row) => row.dataset.file === former) || rows[0], former !== null);
} catch {
  choose(rows[0], false);
}
