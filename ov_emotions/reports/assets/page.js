"use strict";
// Columns sort at a click; without this script the tables stand as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1) return null;
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const text = cell.textContent.trim();
    return text === "–" ? null : text;
  };
  heads.forEach((head, column) => {
    if (!head.childNodes.length) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((one, other) => {
        const a = key(one, column), b = key(other, column);
        // What has no value stays at the end, whichever way the rest is sorted.
        if (a === null || b === null) return (a === null) - (b === null);
        const order = typeof a === "number" && typeof b === "number"
          ? a - b : String(a).localeCompare(String(b), document.documentElement.lang);
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}

// Rows that hold every word of the search stay.
for (const field of document.querySelectorAll("input[data-rows]")) {
  const rows = [...document.querySelectorAll(`${field.dataset.rows} tbody tr`)];
  const told = document.getElementById(field.getAttribute("aria-describedby"));
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = `${row.textContent} ${row.dataset.search || ""}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += !row.hidden;
    }
    told.textContent = words.length ? `${left} / ${rows.length}` : "";
  });
}

const tip = document.querySelector(".tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(x - box.width / 2, 8), innerWidth - box.width - 8);
  const above = y - box.height - 14;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : y + 18}px`;
}
function hideTip() { tip.hidden = true; }
addEventListener("scroll", hideTip, { passive: true, capture: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

// The mark of a chart that is nearest to the pointer says what it is.
for (const chart of document.querySelectorAll("svg.chart")) {
  const marks = [...chart.querySelectorAll("[aria-label]")];
  const point = (event) => {
    let best = null, least = 22 ** 2;
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const dx = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const dy = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
      const centre = Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY);
      const far = dx * dx + dy * dy + Math.min(centre, 40) / 100;
      if (far < least) { least = far; best = mark; }
    }
    if (best) showTip(best.getAttribute("aria-label"), event.clientX, event.clientY); else hideTip();
  };
  chart.addEventListener("pointermove", point);
  chart.addEventListener("pointerdown", point);
  chart.addEventListener("pointerleave", hideTip);
}
