"use strict";
(() => {
  document.documentElement.classList.add("js");
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("mia-jax-data").textContent);
  const { summary, curves, survival_by_group: groups } = data;
  const cohort = { ...curves.survival, num_patients: summary.num_patients };
  const slider = find("level"), choice = find("group");
  const chosen = () => (choice && choice.value !== "" ? groups[choice.value] : null);
  const at = (curve, level) => curve.auc.findIndex((a) => Math.abs(a - level) < 1e-6);

  const read = (level) => {
    const group = chosen(), curve = group ?? cohort, total = curve.num_patients;
    const number = (share) => Math.round(share * total).toLocaleString("en");
    const row = at(curve, level), [low, high] = [curve.null_low[row], curve.null_high[row]];
    // A public curve may tell only between which numbers the one at this level lies.
    const right = curve.share.slice(row).find((s) => s !== null);
    const left = curve.share.slice(0, row + 1).findLast((s) => s !== null) ?? 1;
    let text = right === undefined ? `at most ${number(left)}`
      : right === left ? number(left) : `${number(right)} to ${number(left)}`;
    text += ` of ${total.toLocaleString("en")} patients; if nothing leaked: `;
    text += number(high) === "0" ? "none" : `${number(low)} to ${number(high)}`;
    const known = curves.denoised.share[at(curves.denoised, level)] ?? null;
    if (!group && known !== null) text += `; noise removed: about ${number(known)}`;
    const who = group ? `${group.attribute}: ${group.value}: ` : "";
    const key = group ? " Black: this group; sand: its 99 % range if nothing leaked." : "";
    return `More than ${Math.round(100 * level)} times in 100: ${who}${text}.${key}`;
  };

  // The chosen group with its own band, and the level, in the frame of the axes.
  const layer = ({ dataset: { frame, floor } }, curve) => {
    const [x0, y0, x1, y1] = frame.split(" ").map(Number);
    const x = (auc) => x0 + ((100 * auc - 36) / 64) * (x1 - x0);
    const y = (s) => y1 - (y1 - y0) * Math.log(Math.max(s / floor, 1)) / Math.log(1.15 / floor);
    const points = (values) => values.map((s, i) => [curve.auc[i], s])
      .filter(([a, s]) => a >= 0.36 && s !== null).map(([a, s]) => `${x(a)} ${y(s)}`);
    const made = document.createElementNS("http://www.w3.org/2000/svg", "g");
    made.setAttribute("class", "chosen");
    const around = () => [...points(curve.null_high), ...points(curve.null_low).reverse()];
    if (curve !== cohort)
      made.innerHTML = `<path class="range" d="M${around().join("L")}Z"/>
        <path class="group" d="M${points(curve.share).join("L")}"/>`;
    made.innerHTML += `<path class="level" d="M${x(slider.value / 100)} ${y0}V${y1}"/>`;
    return made;
  };
  const show = () => {
    find("read-out").textContent = read(slider.value / 100);
    slider.setAttribute("aria-valuetext", `more than ${slider.value} times in 100`);
    for (const box of document.querySelectorAll("[data-frame]")) {
      box.querySelector(".chosen")?.remove();
      for (const part of box.querySelectorAll('[id*="-cohort-"]'))
        part.style.display = chosen() ? "none" : "";
      box.firstElementChild.append(layer(box, chosen() ?? cohort));
    }
  };
  slider.addEventListener("input", show);
  choice?.addEventListener("change", show);
  show();
})();
