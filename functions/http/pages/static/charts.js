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
  const stacked = "stacked" in figure.dataset;
  const rows = [...table.tBodies[0].rows];
  const datasets = [...table.tHead.rows[0].cells].slice(1).map((head, place) => {
    const data = rows.map((row) => number(row.cells[place + 1]));
    const alone = data.filter((each) => each !== null).length === 1; // no line leads to it, so it has to be seen itself
    const dashed = "dashed" in head.dataset;
    return {
      label: head.textContent,
      data,
      borderColor: colour(head.dataset.colour),
      backgroundColor: colour(head.dataset.colour),
      borderDash: dashed ? [6, 4] : [],
      borderWidth: 2,
      pointStyle: alone && dashed ? "line" : "circle",
      pointRadius: alone ? (dashed ? 22 : 6) : dashed ? 0 : 2.5,
      spanGaps: true,
      maxBarThickness: 64,
    };
  });
  const axis = { ticks: { color: colour("ink"), maxTicksLimit: 6, maxRotation: 0 }, border: { color: colour("muted") } };
  const chart = new Chart(canvas, {
    type: stacked ? "bar" : "line",
    data: { labels: rows.map((row) => row.cells[0].textContent.slice(5)), datasets },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: { legend: { display: false } },
      scales: {
        x: { ...axis, stacked, offset: stacked || rows.length === 1, grid: { display: false } },
        y: { ...axis, stacked, beginAtZero: true, grid: { color: colour("grid") } },
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
