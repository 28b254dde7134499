document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.docutils")) {
    // Give each cell the heading of its column, for site.css.
    const labels = [...table.querySelectorAll("thead th")].map(th => th.textContent);
    if (!labels.length) continue;
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, column) => {
        if (labels[column]) cell.dataset.label = labels[column];
        cell.classList.toggle("is-empty", !cell.textContent.trim());
      });
    table.classList.add("has-labels");

    // Let long code end its line behind a comma, an equals sign or an underscore.
    for (const code of table.querySelectorAll("td code .pre")) {
      const parts = code.textContent.match(/[^,=_]*[,=_]+|[^,=_]+$/g);
      if (code.textContent.length < 25 || parts.length < 2) continue;
      code.replaceWith(...parts.flatMap(part => {
        const span = code.cloneNode(false);
        span.textContent = part;
        span.classList.add("part");
        return [span, document.createElement("wbr")];
      }));
    }
  }
});
