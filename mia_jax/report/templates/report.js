"use strict";
(() => {
  document.documentElement.classList.add("js");
  const text = document.getElementById("mia-jax-data").textContent;
  const { summary, curves } = JSON.parse(text);
  const total = summary.num_patients;

  const patients = (share) =>
    share === null ? "not measured" : Math.round(share * total).toLocaleString("en");

  // What the survival curve says at one level.
  const read = (level) => {
    const at = (curve) => curves[curve].auc.findIndex((a) => Math.abs(a - level) < 1e-6);
    const row = at("survival");
    const { share, null_low: low, null_high: high } = curves.survival;
    const most = patients(high[row]);
    const range = most === "0" ? "none" : `${patients(low[row])} to ${most}`;
    let found = `${patients(share[row])} of ${total.toLocaleString("en")} patients; `;
    found += `if nothing leaked: ${range}`;
    const known = at("denoised");
    if (known >= 0 && curves.denoised.share[known] !== null)
      found += `; noise removed: about ${patients(curves.denoised.share[known])}`;
    return `More than ${Math.round(100 * level)} times in 100: ${found}.`;
  };

  const slider = document.getElementById("level");
  const output = document.getElementById("read-out");
  const show = () => { output.textContent = read(slider.value / 100); };
  slider.addEventListener("input", show);
  show();

  const value = (row, column) => {
    const cell = row.children[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : `${a}`.localeCompare(`${b}`);

  const sort = (heading, column, table) => {
    const down = heading.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(value(a, column), value(b, column)) * (down ? -1 : 1));
    table.tBodies[0].append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(heading, column, table));
    });

  // Paper has no clicks: open every table, and close again what was closed.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const element of opened) element.open = true;
  });
  addEventListener("afterprint", () => {
    for (const element of opened) element.open = false;
  });
})();
