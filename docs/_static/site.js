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
