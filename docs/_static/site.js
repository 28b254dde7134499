document.addEventListener("DOMContentLoaded", () => {
  const all = selector => document.querySelectorAll(selector);

  for (const table of all("table.docutils")) {
    // Give each cell the heading of its column, for site.css.
    const labels = [...table.querySelectorAll("thead th")].map(th => th.textContent);
    if (!labels.length) continue;
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, column) => {
        if (labels[column]) cell.dataset.label = labels[column];
        cell.classList.toggle("is-empty", !cell.textContent.trim());
      });
    table.classList.add("has-labels");
    table.classList.toggle("is-broad", labels.length > 6);

    // What is shown as a list is still a table to who hears it.
    table.setAttribute("role", "table");
    for (const [tag, role] of Object.entries({ tbody: "rowgroup", tr: "row", td: "cell" }))
      for (const part of table.querySelectorAll(tag)) part.setAttribute("role", role);

    // Let long code end its line behind a comma, an equals sign, an underscore or a hyphen
    // within, and no option behind the hyphens that it begins with.
    for (const code of table.querySelectorAll("td code .pre")) {
      const text = code.textContent;
      if (text.length < 25 && !text.startsWith("--")) continue;
      code.replaceWith(...text.split(/(?<=[,=_](?![,=_])|\w-)/).flatMap((part, place) => {
        const span = code.cloneNode(false);
        span.textContent = part;
        span.classList.add("part");
        return place ? [document.createElement("wbr"), span] : [span];
      }));
    }
  }

  // An error is three lines.
  for (const block of all(".highlight-text pre")) {
    if (!/^(why|cannot)\b/m.test(block.textContent)) continue;
    const lines = block.textContent.trimEnd().split("\n");
    block.classList.add("is-error");
    block.replaceChildren(...lines.map(line => {
      const span = document.createElement("span");
      span.className = "line";
      span.textContent = line || "\u200b";
      return span;
    }));
  }

  // A plot of benchmarks has small text: on a telephone it is scrolled.
  for (const image of all('article img[src$="/cost.svg"]')) {
    const box = document.createElement("div");
    box.className = "plot";
    image.replaceWith(box);
    box.append(image);
  }

  // The groups of pages have headings, of a level that the theme leaves out.
  for (const heading of all("[role=heading]:not([aria-level])"))
    heading.setAttribute("aria-level", "2");

  // What scrolls by itself can be scrolled with the keys.
  const letScroll = () => {
    for (const box of all("article pre, article .table-wrapper, .plot"))
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
  };
  letScroll();
  addEventListener("load", letScroll);
  addEventListener("resize", letScroll);
});
