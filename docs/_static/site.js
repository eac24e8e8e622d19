/* What scrolls can be reached by keyboard, and what folds says what it holds. */
function reachable() {
  for (const frame of document.querySelectorAll("mjx-container[display], table.dataframe, div:has(> table.dataframe), .cell_output .output, pre"))
    if (frame.scrollWidth > frame.clientWidth + 1 || frame.scrollHeight > frame.clientHeight + 1) frame.tabIndex = 0;
}
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll("nav summary")) {
    const link = summary.closest("li")?.querySelector("a");
    if (link && !summary.textContent.trim()) summary.setAttribute("aria-label", "Pages of " + link.textContent.trim());
  }
});
window.addEventListener("load", () => {
  reachable();
  window.MathJax?.startup?.promise?.then(reachable);
});
window.addEventListener("resize", reachable);

/* What the search shows of a page: its words, without code, formulas, or the words of the theme. */
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html").querySelector("article");
    const part = (anchor && page?.querySelector(anchor)) || page;
    if (!part) return "";
    const unsaid = ".headerlink, script, style, pre, table, .example, .notebook-links, div.math, dt.sig, details > summary, .pages";
    for (const other of part.querySelectorAll(unsaid)) other.remove();
    for (const formula of part.querySelectorAll(".math")) {
      const words = formula.textContent.replace(/\\[()]/g, "");
      formula.textContent = /[\\{}^_]/.test(words) ? "…" : words;
    }
    for (const heading of part.querySelectorAll("h1, h2, h3, h4")) heading.append(" – ");
    return part.textContent.replace(/\s+/g, " ").trim();
  };
});
