"use strict";
// All that needs a script: searching and sorting tables, copying cures, opening what is folded before it is printed.

const plural = (count) => `${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}`;

function searchable(listing) {
  const tools = listing.querySelector(".tools");
  if (!tools) return;
  const field = tools.querySelector("input");
  const told = tools.querySelector("output");
  const rows = [...listing.querySelectorAll("tbody > tr")];
  let texts = null;
  const search = () => {
    texts ??= rows.map((row) => row.textContent.toLowerCase());
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    rows.forEach((row, at) => {
      row.hidden = !words.every((word) => texts[at].includes(word));
      found += row.hidden ? 0 : 1;
    });
    told.value = words.length ? `${found.toLocaleString("en")} of ${plural(rows.length)}` : plural(rows.length);
  };
  field.addEventListener("input", search);
  // A browser that goes back to this page remembers what was typed.
  search();
  tools.hidden = false;
}

function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")];
  const body = table.tBodies[0];
  const order = new Intl.Collator("en", { numeric: true });
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    const number = head.classList.contains("number");
    const key = (row) => {
      const text = row.cells[column].textContent;
      return number ? Number.parseFloat(text.replaceAll(",", "")) || 0 : text;
    };
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : number;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => [key(row), row]);
      keyed.sort(([a], [b]) => (number ? a - b : order.compare(a, b)) * (down ? -1 : 1));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Some browsers lend the clipboard to no page from the disk: then it is selected, to be copied by hand.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

function copyable(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  button.title = "Copy this cure";
  button.addEventListener("click", () => copy(code, button));
  code.after(button);
}

document.querySelectorAll(".listing").forEach(searchable);
document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll("code.cure").forEach(copyable);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
