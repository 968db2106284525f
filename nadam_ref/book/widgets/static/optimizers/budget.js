// The order of the methods by the number of rates that each may try: a task, a slider, and a table that sorts itself.
"use strict";

(function (root) {
  const { open, options } = root.nadamPage;

  const percent = (x) => (x === null ? "diverged" : x === 0 ? "best" : `+${(100 * Math.expm1(x)).toFixed(x < 0.0995 ? 1 : 0)} %`);

  function page({ tasks }) {
    const titles = Object.fromEntries(tasks.map(({ title }, i) => [i, title]));
    return `<div class="budget-controls">
        <label class="play-row play-choice"><span>task</span><select data-task aria-label="Task">${options(titles)}</select></label>
        <label class="play-row"><span>rates tried</span><input type="range" data-k min="1" step="1" aria-label="rates tried"><output></output></label>
      </div>
      <table class="budget-order"><thead><tr><th scope="col">place</th><th scope="col">method</th><th scope="col">above the best</th><td></td></tr></thead>
      <tbody></tbody></table><p class="play-said" role="status"></p>`;
  }

  class Budget {
    constructor(box) {
      Object.assign(this, open(box, page));
      this.state = { ...this.given.preset };
      box.addEventListener("input", ({ target }) => {
        if (target.matches("[data-task]")) this.change({ task: Number(target.value) });
        else this.change({ k: Number(target.value) });
      });
      this.draw();
    }

    get task() {
      return this.given.tasks[this.state.task];
    }

    // Names, the best first, with what each is above the best; null where more than half of the draws diverge.
    order() {
      const at = ([name, curve]) => [name, curve[this.state.k - 1]];
      const size = ([, x]) => (x === null ? Infinity : x);
      const sorted = Object.entries(this.task.curves).map(at).sort((a, b) => size(a) - size(b) || (a[0] < b[0] ? -1 : 1));
      const least = sorted[0][1];
      return sorted.map(([name, x]) => [name, x === null ? null : x - least]);
    }

    change(patch) {
      Object.assign(this.state, patch);
      this.draw();
      clearTimeout(this.saying);
      this.saying = setTimeout(() => {
        this.find(".play-said").textContent = `${this.words()}: ${this.order().map(([name]) => name).join(", ")}.`;
      }, 500);
    }

    words() {
      return this.state.k === 1 ? "1 rate" : `${this.state.k} rates`;
    }

    draw() {
      const most = this.task.most;
      this.state.k = Math.min(this.state.k, most);
      const slider = this.find("[data-k]");
      Object.assign(slider, { max: most, value: this.state.k });
      slider.setAttribute("aria-valuetext", this.words());
      slider.nextElementSibling.textContent = `${this.state.k} of ${most}`;
      this.find("[data-task]").value = this.state.task;
      const before = this.places ?? {};
      this.places = {};
      this.find("tbody").innerHTML = this.order().map(([name, x], i) => {
        this.places[name] = i;
        const moved = before[name] === undefined || before[name] === i ? "" : before[name] > i ? " ↑" : " ↓";
        const width = x === null ? 100 : Math.min(100, 100 * x / Math.log(2));
        return `<tr style="--look: ${this.given.looks[name].colour}"><td>${i + 1}</td><th scope="row">${name}<small>${moved}</small></th>
          <td>${percent(x)}</td><td><span class="budget-bar" style="width: ${width.toFixed(1)}%"></span></td></tr>`;
      }).join("");
    }
  }

  root.nadamBudget = { start: (box) => { box.budget = new Budget(box); } };
})(globalThis);
