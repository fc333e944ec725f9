"use strict";
(() => {
  const value = ({ dataset, textContent }) =>
    "v" in dataset ? Number(dataset.v) : textContent;
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : `${a}`.localeCompare(`${b}`);
  const sort = (heading, column, table) => {
    const sign = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const key = (row) => value(row.children[column]);
    const rows = [...table.tBodies[0].rows];
    table.tBodies[0].append(...rows.sort((a, b) => sign * compare(key(a), key(b))));
  };
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(heading, column, table));
    });
  const filter = document.getElementById("filter");
  filter?.addEventListener("input", () => {
    const rows = [...document.querySelector(".top tbody").rows];
    const word = filter.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
    const kept = rows.filter((row) => !row.hidden).length;
    document.getElementById("found").textContent = `${kept} of ${rows.length} rows`;
  });
  // Paper has no clicks: open every table, and close again what was closed.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const element of opened) element.open = true;
  });
  addEventListener("afterprint", () => opened.forEach((e) => { e.open = false; }));
})();
