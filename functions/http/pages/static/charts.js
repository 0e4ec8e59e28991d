// Draws each figure from the table below it, in the colours of the style sheet.
"use strict";

const drawn = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function number(cell) {
  const text = cell.textContent.replaceAll(",", "");
  return text === "" ? null : Number(text);
}

function draw(figure) {
  const table = figure.querySelector("table");
  const canvas = figure.querySelector("canvas");
  if (!table || !canvas) return;
  const rows = [...table.tBodies[0].rows];
  const datasets = [...table.tHead.rows[0].cells].slice(1).map((head, place) => ({
    label: head.textContent,
    data: rows.map((row) => number(row.cells[place + 1])),
    borderColor: colour(head.dataset.colour),
    backgroundColor: colour(head.dataset.colour),
    borderDash: "dashed" in head.dataset ? [6, 4] : [],
    borderWidth: 2,
    pointRadius: "dashed" in head.dataset ? 0 : 2.5,
    spanGaps: true,
  }));
  const axis = { ticks: { color: colour("ink"), maxTicksLimit: 6, maxRotation: 0 }, border: { color: colour("muted") } };
  const chart = new Chart(canvas, {
    type: "line",
    data: { labels: rows.map((row) => row.cells[0].textContent.slice(5)), datasets },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: { legend: { display: false } },
      scales: {
        x: { ...axis, grid: { display: false } },
        y: { ...axis, beginAtZero: true, grid: { color: colour("grid") } },
      },
    },
  });
  drawn.set(canvas, chart);
}

function drawAll() {
  for (const chart of drawn.values()) chart.destroy();
  drawn.clear();
  document.querySelectorAll("figure[data-chart]").forEach(draw);
}

drawAll();
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.elt.querySelector("figure[data-chart]")) drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
