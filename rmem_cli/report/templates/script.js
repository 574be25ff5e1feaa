// Sorting and filtering; without it, all that is here can still be read.
"use strict";

const UNITS = new Map([
  ["s", 1], ["min", 60], ["h", 3600], ["days", 86400],
  ["MB", 1e6], ["GB", 1e9],
  ["k", 1e3], ["M", 1e6], ["G", 1e9],
]);

function number(text) {
  const found = text.replace(/,/g, "").match(/^([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?) ?([A-Za-z]*)/);
  return found ? Number(found[1]) * (UNITS.get(found[2]) || 1) : null;
}

function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (x !== null && y !== null) return x - y;
  if (x !== null || y !== null) return x === null ? 1 : -1;
  return a.localeCompare(b);
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    while (head.firstChild && !(head.firstChild.nodeName === "SUP")) button.append(head.firstChild);
    head.prepend(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const text = (row) => row.cells[index].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((a, b) => sign * compare(text(a), text(b)));
      table.tBodies[0].append(...rows);
    });
  });
}

function labelled(text, field) {
  const label = document.createElement("label");
  label.append(text + " ", field);
  return label;
}

function filterable(scroll, table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 6) return;
  const words = document.createElement("input");
  words.type = "search";
  const box = document.createElement("div");
  box.className = "filter";
  box.append(labelled("Rows with", words));
  const verdicts = [...new Set(rows.map(verdict).filter(Boolean))];
  const chosen = document.createElement("select");
  if (verdicts.length > 1) {
    chosen.append(new Option("any", ""), ...verdicts.map((each) => new Option(each, each)));
    box.append(labelled("Verdict", chosen));
  }
  const told = document.createElement("span");
  told.setAttribute("role", "status");
  box.append(told);
  const apply = () => {
    const wanted = words.value.toLowerCase();
    for (const row of rows) {
      const fits = row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits || (chosen.value !== "" && verdict(row) !== chosen.value);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    told.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
  };
  words.addEventListener("input", apply);
  chosen.addEventListener("change", apply);
  scroll.before(box);
}

function verdict(row) {
  const texts = [...row.querySelectorAll("td.verdict")].map((cell) => cell.textContent.trim());
  return texts.length === 1 && number(texts[0]) === null ? texts[0].split(":")[0] : "";
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.closest("details");
  if (details) details.open = true;
  if (target) target.scrollIntoView();
}

for (const scroll of document.querySelectorAll(".scroll")) {
  const table = scroll.querySelector("table");
  sortable(table);
  filterable(scroll, table);
}
addEventListener("hashchange", openTarget);
openTarget();
