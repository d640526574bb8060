// Small plots of what a container uses, a minute and a half of it.

/* global uPlot */
import { bytes } from "./format.js";

const KEPT = 90;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const PLOTS = [
  {
    title: "CPU",
    least: 1,
    series: [{ label: "of one CPU", colour: "--plot-1", value: (rate) => rate.cpu }],
    format: (value) => (value == null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} %`),
  },
  {
    title: "Memory",
    least: 1024,
    series: [{ label: "in use", colour: "--plot-2", value: (rate) => rate.memory }],
    format: bytes,
  },
  {
    title: "Net",
    least: 1024,
    series: [
      { label: "↓", colour: "--plot-3", value: (rate) => rate.rx },
      { label: "↑", colour: "--plot-4", value: (rate) => rate.tx },
    ],
    format: (value) => (value == null ? "–" : `${bytes(value)}/s`),
  },
  {
    title: "Disk",
    least: 1024,
    series: [
      { label: "r", colour: "--plot-3", value: (rate) => rate.read },
      { label: "w", colour: "--plot-4", value: (rate) => rate.written },
    ],
    format: (value) => (value == null ? "–" : `${bytes(value)}/s`),
  },
];

export class Plots {
  constructor(element) {
    this.element = element;
    this.previous = null;
    this.times = [];
    this.rates = [];
    this.charts = [];
    this.onTheme = () => this.build();
    document.addEventListener("themechange", this.onTheme);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(element);
    this.build();
  }

  close() {
    document.removeEventListener("themechange", this.onTheme);
    this.observer.disconnect();
    this.charts.forEach((chart) => chart.uplot.destroy());
  }

  add(usage) {
    const before = this.previous;
    this.previous = usage;
    if (!before || usage.at_ns <= before.at_ns) return;
    const seconds = (usage.at_ns - before.at_ns) / 1e9;
    const per = (name) => Math.max(0, (usage[name] - before[name]) / seconds);
    this.times.push(usage.at_ns / 1e9);
    this.rates.push({
      cpu: per("cpu_ns") / 1e7,
      memory: usage.memory_bytes,
      rx: per("rx_bytes"),
      tx: per("tx_bytes"),
      read: per("read_bytes"),
      written: per("written_bytes"),
    });
    if (this.times.length > KEPT) {
      this.times.shift();
      this.rates.shift();
    }
    this.draw();
  }

  build() {
    this.charts.forEach((chart) => chart.uplot.destroy());
    this.element.replaceChildren();
    this.charts = PLOTS.map((plot) => this.chart(plot));
    this.draw();
  }

  chart(plot) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const title = document.createElement("b");
    title.textContent = plot.title;
    const now = document.createElement("span");
    caption.append(title, now);
    const place = document.createElement("div");
    figure.append(caption, place);
    this.element.append(figure);
    const axis = {
      stroke: colour("--ink-3"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: "10px system-ui",
    };
    const uplot = new uPlot(
      {
        width: Math.max(120, place.clientWidth || 200),
        height: 86,
        cursor: { show: false },
        legend: { show: false },
        padding: [8, 2, 8, 0],
        scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.15, plot.least)] } },
        axes: [
          { ...axis, show: false },
          {
            ...axis,
            size: 58,
            splits: (_, __, min, max) => [min, max / 2, max],
            values: (_, splits) => splits.map((value) => plot.format(value)),
          },
        ],
        series: [
          {},
          ...plot.series.map((series) => ({
            label: series.label,
            stroke: colour(series.colour),
            fill: `${colour(series.colour)}22`,
            width: 1.5,
            points: { show: false },
          })),
        ],
      },
      [[], ...plot.series.map(() => [])],
      place,
    );
    return { plot, uplot, now, place };
  }

  draw() {
    for (const { plot, uplot, now } of this.charts) {
      const values = plot.series.map((series) => this.rates.map(series.value));
      uplot.setData([this.times, ...values]);
      now.replaceChildren(
        ...plot.series.map((series, index) => {
          const item = document.createElement("em");
          item.style.color = `var(${series.colour})`;
          item.textContent = `${series.label} ${plot.format(values[index].at(-1))}`;
          return item;
        }),
      );
    }
  }

  resize() {
    for (const { uplot, place } of this.charts) {
      if (place.clientWidth && place.clientWidth !== uplot.width) {
        uplot.setSize({ width: place.clientWidth, height: 86 });
      }
    }
  }
}
