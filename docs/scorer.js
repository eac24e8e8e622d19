/* Search: a public name that is what was asked for comes first, then headings and names that contain it, then text. */
var Scorer = {
  score: ([docname, title, anchor, descr, score, filename, kind]) => {
    const exact = (a, b) => a === b || a.endsWith("." + b);
    const query = (new URLSearchParams(window.location.search).get("q") || "").trim().replace(/\(.*\)$/, "");
    const name = (anchor || "").replace(/^#/, "");
    if (name.startsWith("module-")) return score + (exact(name, query) ? 500 : 0);
    if (kind === "title" && query && title.toLowerCase().includes(query.toLowerCase())) return score + 100;
    if (kind !== "object" || !query || !name) return score;
    if (exact(name, query)) return score + 2000 - name.split(".").length;
    if (exact(name.toLowerCase(), query.toLowerCase())) return score + 1000 - name.split(".").length;
    return score;
  },
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
