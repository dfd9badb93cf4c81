"use strict";
(() => {
  const PAGE = 200;
  const AXES = ["architecture", "backend", "dtype", "quantisation", "transformation", "device_map", "padding", "workload"];
  const SELECTION = ["architecture", "backend"];
  const KEYS = [...AXES, "verdict", "q", "order", "cell"];

  const data = JSON.parse(document.getElementById("data").textContent);
  const verdicts = new Map(data.verdicts.map(([name, symbol, meaning]) => [name, { symbol, meaning }]));
  const cells = data.rows.map((row) => {
    const cell = {};
    row.forEach((index, field) => {
      if (index) cell[data.fields[field]] = data.values[index];
    });
    cell.searched = [cell.cell, cell.reason, ...(cell.kernels || [])].join(" ").toLowerCase();
    return cell;
  });
  const byId = new Map(cells.map((cell) => [cell.cell, cell]));

  const find = (id) => document.getElementById(id);
  const form = find("filters");
  const detail = find("detail");
  const order = make("button", { type: "button", title: "Order by the worst ratio of error to bound" });
  let state = readFragment();
  let shown = PAGE;
  let opener = null;

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "onclick") element.addEventListener("click", value);
      else if (value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== undefined && child !== null).map((child) =>
      child instanceof Node ? child : document.createTextNode(String(child))));
    return element;
  }

  function draw(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function readFragment() {
    const given = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries(KEYS.map((key) => [key, given.get(key) || ""]));
  }

  function fragmentOf(changes) {
    const wanted = { ...state, ...changes };
    return "#" + new URLSearchParams(KEYS.filter((key) => wanted[key]).map((key) => [key, wanted[key]]));
  }

  function change(changes, { step = false } = {}) {
    const fragment = fragmentOf(changes);
    state = { ...state, ...changes };
    shown = PAGE;
    const address = fragment === "#" ? location.pathname + location.search : fragment;
    history[step ? "pushState" : "replaceState"](null, "", address);
    render();
  }

  function filtered() {
    const terms = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const axes = AXES.filter((axis) => state[axis] && !SELECTION.includes(axis));
    return cells.filter((cell) =>
      axes.every((axis) => cell[axis] === state[axis]) && hasVerdict(cell) && terms.every((term) => cell.searched.includes(term)));
  }

  function hasVerdict(cell) {
    if (state.verdict === "failing") return Boolean(cell.fails);
    if (state.verdict === "known") return Boolean(cell.waived);
    return !state.verdict || cell.verdict === state.verdict;
  }

  function render() {
    const matching = filtered();
    renderForm();
    renderMatrix(matching);
    const listed = matching.filter((cell) => SELECTION.every((axis) => !state[axis] || cell[axis] === state[axis]));
    if (state.order === "worst") listed.sort((a, b) => severity(b.worst) - severity(a.worst));
    renderList(listed);
    renderDetail();
  }

  function severity(ratio) {
    if (ratio === undefined) return -1;
    return typeof ratio === "number" ? ratio : Number.MAX_VALUE;
  }

  function renderForm() {
    for (const control of form.elements) if (control.name && control.value !== state[control.name]) control.value = state[control.name];
    for (const chip of document.querySelectorAll(".chip")) mark(chip, chip.dataset.verdict === state.verdict);
  }

  function mark(element, current) {
    if (current) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
  }

  function renderMatrix(matching) {
    const groups = new Map();
    for (const cell of matching) {
      const key = JSON.stringify([cell.architecture, cell.backend]);
      const counts = groups.get(key) || groups.set(key, new Map()).get(key);
      const kind = cell.verdict + (cell.waived ? ", known" : "");
      counts.set(kind, (counts.get(kind) || 0) + 1);
    }
    for (const place of document.querySelectorAll(".matrix td")) {
      const { architecture, backend } = place.dataset;
      const counts = groups.get(JSON.stringify([architecture, backend]));
      if (counts) place.replaceChildren(selector({ architecture, backend }, ...mix(counts)));
      else place.replaceChildren();
    }
    for (const place of document.querySelectorAll(".matrix th[data-architecture], .matrix th[data-backend]")) {
      const { architecture = "", backend = "" } = place.dataset;
      place.replaceChildren(selector({ architecture, backend }, place.textContent));
    }
  }

  function selector(selection, ...children) {
    const current = SELECTION.every((axis) => selection[axis] === state[axis]);
    const link = make("a", { href: fragmentOf({ ...selection, cell: "" }) }, ...children);
    mark(link, current);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      change(current ? { architecture: "", backend: "" } : selection, { step: true });
      const again = [...document.querySelectorAll(".matrix [data-architecture], .matrix [data-backend]")].find((place) =>
        SELECTION.every((axis) => (place.dataset[axis] || "") === selection[axis]));
      again?.firstElementChild?.focus();
    });
    return link;
  }

  function mix(counts) {
    const bar = draw("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
    const list = make("ul", { class: "mix" });
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    let start = 0;
    for (const [verdict, { symbol }] of verdicts) {
      for (const known of ["", ", known"]) {
        const count = counts.get(verdict + known);
        if (!count) continue;
        const width = (100 * count) / total;
        bar.append(draw("rect", { class: `v-${verdict}${known && " known"}`, x: start, width, height: 6 }));
        list.append(make("li", { class: `v-${verdict}` }, icon(symbol), `${count} ${verdict}${known}`));
        start += width;
      }
    }
    return [bar, list];
  }

  function icon(symbol) {
    return make("span", { class: "symbol", "aria-hidden": "true" }, symbol);
  }

  function badge(cell) {
    const { symbol, meaning } = verdicts.get(cell.verdict);
    return make("span", { class: `badge v-${cell.verdict}`, title: meaning }, icon(symbol), cell.verdict + (cell.waived ? ", known" : ""));
  }

  function renderList(listed) {
    find("rows").replaceChildren(...listed.slice(0, shown).map(listRow));
    const count = listed.length.toLocaleString("en-GB");
    const unknown = state.cell && !byId.has(state.cell) ? ` The link names a cell that is not in this report: ${state.cell}.` : "";
    find("matches").textContent = `${count} of ${cells.length.toLocaleString("en-GB")} cells match.${unknown}`;
    const chosen = SELECTION.map((axis) => state[axis]).filter(Boolean);
    const clear = make("button", { type: "button", onclick: () => change({ architecture: "", backend: "" }) }, "All architectures and backends");
    find("selection").replaceChildren(
      `${count} ${listed.length === 1 ? "cell" : "cells"}${chosen.length ? " of " + chosen.join(" × ") : ""}`,
      ...(chosen.length ? [clear] : []));
    offerMore(listed);
    find("worst").setAttribute("aria-sort", state.order ? "descending" : "none");
    order.textContent = state.order ? "worst ratio ▾" : "worst ratio";
  }

  function offerMore(listed) {
    const more = find("more");
    const left = listed.length - shown;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en-GB")}`;
    more.onclick = () => {
      const rows = listed.slice(shown, shown + PAGE).map(listRow);
      find("rows").append(...rows);
      rows[0].querySelector("a").focus();
      shown += PAGE;
      offerMore(listed);
    };
  }

  function listRow(cell) {
    const row = make("tr", { "data-cell": cell.cell },
      make("td", {}, make("a", { class: "cell", href: fragmentOf({ cell: cell.cell }) }, cell.cell)),
      make("td", {}, badge(cell)),
      make("td", { class: "number" }, cell.worst === undefined ? "" : number(cell.worst)),
      make("td", {}, (cell.kernels || []).join(", ")),
      make("td", { title: cell.reason }, cell.reason));
    mark(row, cell.cell === state.cell);
    return row;
  }

  function number(value) {
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en-GB");
    if (Math.abs(value) < 0.001) return value.toExponential(2);
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-GB") : String(Number(value.toPrecision(3)));
  }

  function renderDetail() {
    const cell = byId.get(state.cell);
    detail.hidden = !cell;
    for (const row of find("rows").rows) mark(row, row.dataset.cell === state.cell);
    if (!cell) return detail.replaceChildren();
    detail.replaceChildren(
      make("button", { type: "button", class: "close", "aria-label": "Close the details", onclick: close }, "✕"),
      make("h2", { id: "detail-title", tabindex: "-1" }, cell.cell),
      ...[verdictPart, boundPart, failurePart, expectationPart, comparisonPart, costPart, evidencePart, costsPart, commandPart]
        .flatMap((part) => part(cell)));
    detail.scrollTop = 0;
  }

  function verdictPart(cell) {
    const parts = [make("p", {}, badge(cell)), make("p", { class: "reason" }, cell.reason || "")];
    if (cell.first_verdict) parts.push(make("p", {}, `At first it was ${cell.first_verdict}.`));
    if (cell.demanded) parts.push(make("p", {}, `Required, but not here: ${cell.demanded.join(", ")}`));
    if (cell.waived) {
      const { reason, url, reproducer } = cell.waived;
      parts.push(make("div", { class: "known" }, make("p", {}, `Known upstream fault: ${reason || ""}`),
        make("div", {}, url ? address(url) : ""), reproducer ? make("div", {}, "Reproducer: ", make("code", {}, reproducer)) : null));
    }
    return parts;
  }

  function address(text) {
    try {
      const url = new URL(text);
      if (["http:", "https:"].includes(url.protocol)) return make("a", { href: url.href, rel: "noopener noreferrer" }, text);
    } catch {
      // Not an address: the text stays a text.
    }
    return document.createTextNode(text);
  }

  function titled(title, ...content) {
    return [make("h3", {}, title), ...content];
  }

  function pairs(entries) {
    const given = entries.filter(([, value]) => value !== undefined && value !== "");
    return make("dl", { class: "pairs" }, ...given.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, plain(value))]));
  }

  function plain(value) {
    if (value instanceof Node) return value;
    if (Array.isArray(value)) return value.length === 1 ? plain(value[0]) : make("ul", {}, ...value.map((part) => make("li", {}, plain(part))));
    if (typeof value === "object") {
      return make("ul", {}, ...Object.entries(value).map(([name, part]) =>
        make("li", {}, make("code", {}, name), ": ", Array.isArray(part) ? part.join(", ") : plain(part))));
    }
    return document.createTextNode(typeof value === "number" ? number(value) : String(value));
  }

  function boundPart(cell) {
    if (!cell.bounds) return [];
    const highest = Math.max(...cell.bounds.map((bound) => (typeof bound.ratio === "number" ? bound.ratio : 0)));
    const logarithmic = highest > 2;
    const decades = Math.ceil(Math.log10(highest)) + 1;
    const position = (ratio) => {
      if (typeof ratio !== "number") return 100;
      const share = logarithmic ? (Math.log10(Math.max(ratio, 0.1)) + 1) / decades : ratio / Math.max(1.25, 1.1 * highest);
      return Math.max(0.5, Math.min(100, 100 * share));
    };
    return titled(`Error against its bound${logarithmic ? " (logarithmic scale from 0.1)" : ""}`, ...cell.bounds.map((bound) => {
      const beyond = !(bound.ratio <= 1);
      return make("div", { class: "gauge" },
        make("div", {}, make("span", {}, bound.name),
          make("span", {}, `${number(bound.value)} of ${number(bound.allowed)} allowed, ratio `, make("b", {}, number(bound.ratio)), beyond ? " – exceeds" : "")),
        draw("svg", { "aria-hidden": "true" },
          draw("rect", { class: "track", width: "100%", height: 12 }),
          draw("rect", { class: beyond ? "beyond" : "within", y: 2, width: `${position(bound.ratio)}%`, height: 8 }),
          draw("rect", { class: "edge", x: `${position(1)}%`, width: 2, height: 12 })));
    }));
  }

  function failurePart(cell) {
    if (!cell.failure) return cell.missing ? titled("Not here", pairs([["missing", cell.missing]])) : [];
    const { phase, type, message } = cell.failure;
    return titled("What was raised", pairs([["phase", phase], ["type", type]]), make("pre", {}, message || "(no message)"));
  }

  function expectationPart(cell) {
    const { outcome, source, phase, type, message, missing } = cell.expectation;
    return titled("Expected", pairs([["outcome", outcome], ["source", source && address(source)], ["phase", phase], ["type", type],
      ["message matches", message && make("code", {}, message)], ["missing", missing]]));
  }

  function comparisonPart(cell) {
    if (!cell.comparisons) return [];
    return titled("Against the golden run", ...cell.comparisons.map((comparison) => {
      const wrong = [["finite", "not finite"], ["shape_matches", "another shape"], ["dtype_matches", "another dtype"]]
        .filter(([name]) => comparison[name] === false).map(([, words]) => words);
      const line = (name, key) => make("tr", {}, make("th", { scope: "row" }, name),
        ...["max", "mean"].map((kind) => make("td", { class: "number" }, number(comparison[`${key}_${kind}`]))));
      return make("div", {},
        make("p", {}, `${comparison.name}, ${number(comparison.positions)} positions${wrong.length ? ": " + wrong.join(", ") : ""}`),
        make("table", {},
          make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "error"), make("th", { scope: "col", class: "number" }, "max"), make("th", { scope: "col", class: "number" }, "mean"))),
          make("tbody", {}, line("this cell", "candidate"), line("eager, same dtype", "baseline"), line("rounding floor", "floor"))),
        comparison.regret_max === undefined ? null : make("p", { class: "note" }, `Largest regret of a chosen token: ${number(comparison.regret_max)}`));
    }));
  }

  function costPart(cell) {
    const cost = cell.quantisation_cost;
    if (!cost) return [];
    const agreement = typeof cost.top1_agreement === "number" ? `${number(100 * cost.top1_agreement)} %` : cost.top1_agreement;
    return titled("Cost of quantisation, against the unquantised model (reported, never gated)",
      pairs([["KL divergence, mean", cost.kl_mean], ["KL divergence, p99", cost.kl_p99], ["top-1 agreement", agreement]]));
  }

  function evidencePart(cell) {
    const seen = (name) => cell[`evidence.${name}`];
    const list = pairs([
      ["kernels that ran", cell.kernels], ["attention ops", seen("attention_ops")], ["calls of SDPA", seen("sdpa_calls")],
      ["calls of flex_attention", seen("flex_calls")], ["attn_implementation", seen("attn_implementations")],
      ["attention classes", seen("attention_classes")], ["linear classes", seen("linear_classes")],
      ["left unquantised", seen("unquantised_linear")], ["quantised formats", seen("quantised_formats")],
      ["quantised ops", seen("quantised_ops")], ["parameter dtypes", seen("parameter_dtypes")],
      ["foreign parameters", seen("foreign_parameters")], ["placement", seen("placement")],
      ["hf_device_map", seen("hf_device_map")], ["weight bytes", seen("weight_bytes")],
      ["warnings", seen("warnings")], ["declared by the class", cell.declared],
    ]);
    return list.children.length ? titled("Evidence: what really ran", list) : [];
  }

  function costsPart(cell) {
    const seconds = cell.seconds && Object.entries(cell.seconds).map(([phase, time]) => `${phase} ${number(time)} s`).join(", ");
    const memory = cell.peak_memory_mib === undefined ? undefined : `${number(cell.peak_memory_mib)} MiB`;
    return seconds || memory ? titled("Time and memory", pairs([["seconds", seconds], ["peak memory", memory], ["worker", cell.worker]])) : [];
  }

  function commandPart(cell) {
    const code = make("pre", { tabindex: "0" }, data.command.split("{cell}").join(cell.cell));
    const copy = make("button", { type: "button" }, "Copy");
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        copy.textContent = "Selected: copy with the keyboard";
      }
    });
    return titled("Reproduce", code, copy);
  }

  function open(id, from) {
    opener = from;
    const fragment = fragmentOf({ cell: id });
    history[state.cell ? "replaceState" : "pushState"](null, "", fragment);
    state = { ...state, cell: id };
    renderDetail();
    find("detail-title")?.focus({ preventScroll: true });
  }

  function close() {
    const id = state.cell;
    state = { ...state, cell: "" };
    const fragment = fragmentOf({});
    history.replaceState(null, "", fragment === "#" ? location.pathname + location.search : fragment);
    renderDetail();
    const back = opener?.isConnected ? opener : [...find("rows").rows].find((row) => row.dataset.cell === id)?.querySelector("a");
    back?.focus({ preventScroll: true });
  }

  function listen() {
    const fromForm = () => change(Object.fromEntries([...form.elements].filter((control) => control.name).map((control) => [control.name, control.value])));
    form.addEventListener("input", fromForm);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      change(Object.fromEntries(KEYS.map((key) => [key, key === "cell" ? state.cell : ""])));
    });
    order.addEventListener("click", () => change({ order: state.order ? "" : "worst" }));
    for (const chip of document.querySelectorAll(".chip")) {
      chip.addEventListener("click", (event) => {
        event.preventDefault();
        change({ verdict: state.verdict === chip.dataset.verdict ? "" : chip.dataset.verdict }, { step: true });
        if (state.verdict) find("matrix").scrollIntoView();
      });
    }
    document.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || !(event.target instanceof Element)) return;
      const link = event.target.closest("a.cell") || event.target.closest("#rows tr")?.querySelector("a.cell");
      if (!link || String(getSelection())) return;
      event.preventDefault();
      open(link.textContent, link);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !detail.hidden) close();
    });
    // Pushed and typed fragments alike; one without "=" is a link to a section.
    addEventListener("popstate", () => {
      if (location.hash && !location.hash.includes("=")) return;
      state = readFragment();
      shown = PAGE;
      render();
    });
  }

  find("worst").replaceChildren(order);
  form.hidden = false;
  find("list").hidden = false;
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
  for (const element of document.querySelectorAll(".unscripted")) element.remove();
  listen();
  render();
})();
