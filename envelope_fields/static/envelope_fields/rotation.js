"use strict";

// Keeps what a page says of a rotation up to date: asks once a second while the page is seen, and
// stops when the run is over. Every text comes from the server, in the language of the page.
{
  const SECOND = 1000;
  const LONGEST_WAIT = 30 * SECOND;

  class NotForUs extends Error {}

  class Live {
    constructor(element) {
      this.element = element;
      this.isOver = element.dataset.rotationOver === "true";
      this.wait = SECOND;
      this.timer = null;
      this.shownRows = {};
      document.addEventListener("visibilitychange", () => this.begin());
      this.begin();
    }

    begin() {
      clearTimeout(this.timer);
      if (!this.isOver && !document.hidden) {
        this.timer = setTimeout(() => this.look(), this.wait);
      }
    }

    async look() {
      try {
        this.show(await this.ask());
        this.wait = SECOND;
        this.say("");
      } catch (error) {
        this.isOver = error instanceof NotForUs;
        this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
        this.say(this.isOver ? this.element.dataset.rotationGone : this.element.dataset.rotationLost);
      }
      this.begin();
    }

    async ask() {
      const answer = await fetch(this.element.dataset.rotationUrl, {
        cache: "no-store",
        credentials: "same-origin",
        headers: { Accept: "application/json" },
        redirect: "manual",
      });
      // The login has ended, or a right is gone: asking again would not help.
      if (answer.type === "opaqueredirect" || (answer.status >= 400 && answer.status < 500)) {
        throw new NotForUs();
      }
      if (!answer.ok) {
        throw new Error(answer.statusText);
      }
      return answer.json();
    }

    show(run) {
      this.isOver = run.is_over;
      for (const [name, text] of Object.entries(run.texts)) {
        write(this.element.querySelector(`[data-rotation="${name}"]`), text);
      }
      this.showBar(run.bar);
      for (const [name, rows] of Object.entries(run.rows)) {
        this.showRows(name, rows);
      }
      for (const button of document.querySelectorAll("[data-rotation-operation]")) {
        button.hidden = !run.operations.includes(button.dataset.rotationOperation);
      }
    }

    showBar(bar) {
      const element = this.element.querySelector("progress");
      if (bar === null) {
        element.removeAttribute("value");
      } else {
        element.max = bar.max;
        element.value = bar.value;
      }
    }

    showRows(name, rows) {
      const body = document.querySelector(`[data-rotation-rows="${name}"]`);
      const now = JSON.stringify(rows);
      if (body === null || this.shownRows[name] === now) {
        return;
      }
      this.shownRows[name] = now;
      const heads = body.closest("table").tHead.rows[0].cells;
      body.replaceChildren(...rows.map((texts) => rowOf(texts, heads)));
      body.closest("fieldset").hidden = name === "failures" && rows.length === 0;
    }

    say(text) {
      write(this.element.querySelector("[data-rotation-problem]"), text);
    }
  }

  // Only what is new: a screen reader says what is written again.
  function write(element, text) {
    if (element !== null && element.textContent !== text) {
      element.textContent = text;
    }
  }

  function rowOf(texts, heads) {
    const row = document.createElement("tr");
    texts.forEach((text, index) => {
      const cell = document.createElement(index === 0 ? "th" : "td");
      if (index === 0) {
        cell.scope = "row";
      }
      cell.className = heads[index].className;
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  }

  for (const element of document.querySelectorAll("[data-rotation-url]")) {
    new Live(element);
  }
}
