"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const shown = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = (a, b, numeric, sign) => {
    if (!numeric) return sign * a.localeCompare(b);
    if (a === "" || b === "") return (a === "") - (b === "");  // unknown values stay last in both orders
    return sign * (Number(a) - Number(b));
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = head.classList.contains("num");
    const before = head.getAttribute("aria-sort");
    const order = before ? (before === "ascending" ? "descending" : "ascending") : (numeric ? "descending" : "ascending");
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((a, b) => compare(shown(a, column), shown(b, column), numeric, sign));
    body.append(...rows);
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
  }));
}
const galleries = [...document.querySelectorAll("#examples details")];
const openAll = document.getElementById("open-all");
openAll?.addEventListener("click", () => {
  const open = !galleries.every(d => d.open);
  galleries.forEach(d => { d.open = open; });
  openAll.textContent = open ? "Close all classes" : "Open all classes";
});
addEventListener("beforeprint", () => galleries.forEach(d => { d.open = true; }));
