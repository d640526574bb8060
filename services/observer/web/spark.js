// The lag of the event loop as a line in the header.

const KEPT = 60;
const FULL_S = 0.05; // the height of the line, unless the lag is larger

export class Spark {
  constructor(canvas) {
    this.canvas = canvas;
    this.values = [];
    const scale = window.devicePixelRatio || 1;
    this.width = canvas.width;
    this.height = canvas.height;
    canvas.width *= scale;
    canvas.height *= scale;
    canvas.style.width = `${this.width}px`;
    canvas.style.height = `${this.height}px`;
    this.context = canvas.getContext("2d");
    this.context.scale(scale, scale);
    document.addEventListener("themechange", () => this.draw());
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > KEPT) this.values.shift();
    this.draw();
  }

  draw() {
    const { context, width, height, values } = this;
    const style = getComputedStyle(document.documentElement);
    const top = Math.max(FULL_S, ...values);
    const x = (index) => width - (values.length - 1 - index) * (width / (KEPT - 1));
    const y = (value) => height - 3 - (value / top) * (height - 8);
    context.clearRect(0, 0, width, height);
    if (values.length < 2) return;
    context.beginPath();
    values.forEach((value, index) => context.lineTo(x(index), y(value)));
    context.strokeStyle = style.getPropertyValue("--accent").trim();
    context.lineWidth = 1.5;
    context.stroke();
    context.lineTo(width, height);
    context.lineTo(x(0), height);
    context.fillStyle = `${style.getPropertyValue("--accent").trim()}26`;
    context.fill();
  }
}
