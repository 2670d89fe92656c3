// Batches: many orders in one file, their progress row by row, all pictures in one ZIP.

import { call, request } from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { moment, t } from "./i18n.js";
import { blobOf, save, show } from "./images.js";
import { loadPeople, people } from "./people.js";
import { dropPlace } from "./photo-tray.js";
import { readRows } from "./rows.js";
import { confirm, empty, failure, notice } from "./ui.js";
import { explainJob, explainShort } from "./words.js";

const rowsShown = 200;
const lookEvery = 2000;
const columns = ["person", "prompt", "seed", "size", "n"];

/** @returns {import("./ui.js").Screen} */
export function createBatches() {
  const form = h("div", { class: "stack" });
  const list = h("div", { class: "batches" });
  let closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Map<string, ReturnType<typeof batchCard>>} */
  const cards = new Map();

  const load = async () => {
    clearTimeout(timer);
    try {
      /** @type {Api.List<Api.Batch>} */
      const page = await call("/v1/batches?limit=50");
      if (closed) return;
      for (const batch of page.data) {
        let card = cards.get(batch.id);
        if (!card) cards.set(batch.id, (card = batchCard(batch, load)));
        card.update(batch);
      }
      const wanted = page.data.flatMap((batch) => cards.get(batch.id)?.element ?? []);
      if (!wanted.length) fill(list, empty(t("batch.empty"), t("batch.empty.text")));
      // a card that is put in again would lose what has the focus in it
      else if (wanted.length !== list.children.length || wanted.some((element, at) => list.children[at] !== element)) fill(list, ...wanted);
      if (page.data.some((batch) => !isDone(batch))) timer = setTimeout(load, lookEvery);
    } catch (error) {
      if (closed) return;
      // what is known already stays in sight; the page says by itself that the connection is lost
      if (cards.size) timer = setTimeout(load, 2 * lookEvery);
      else fill(list, failure(error, load));
    }
  };

  const look = picker(form, load);
  const element = h(
    "div",
    { class: "screen batch-screen" },
    h("header", { class: "screen-head" }, h("div", null, h("h1", null, t("nav.batches")), h("p", { class: "hint" }, t("batch.hint")))),
    h("div", { class: "batch-desk" }, form, list),
  );
  // a mended file is dropped where the rows of the one before it stand
  element.addEventListener("dragover", () => form.classList.toggle("form-over", !form.querySelector(".drop")));
  element.addEventListener("dragleave", () => form.classList.remove("form-over"));
  element.addEventListener("drop", (event) => {
    form.classList.remove("form-over");
    const [chosen] = event.dataTransfer?.files ?? [];
    if (chosen && !event.defaultPrevented) look(chosen);
    event.preventDefault();
  });
  load();
  return {
    element,
    title: t("nav.batches"),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** @param {Api.Batch} batch */
function isDone({ counts }) {
  return counts.queued + counts.running === 0;
}

function saveExample() {
  const text = "person,prompt,seed,size,n\n,a portrait of a young woman as a pirate,1,,1\n,a portrait of an elderly man as an astronaut,2,,1\n";
  save(new Blob([text], { type: "text/csv" }), "imagine-batch.csv");
}

/** Where a file is dropped, looked at, and sent. @param {HTMLElement} form @param {() => void} onSent @returns {(chosen: File) => void} what looks at one */
function picker(form, onSent) {
  let turn = 0;
  const drop = dropPlace({
    name: t("batch.drop"),
    choose: t("batch.choose"),
    accept: ".csv,.jsonl,.ndjson,text/csv,application/jsonl",
    filesIn: (transfer) => [...(transfer?.files ?? [])],
    take: ([chosen]) => look(chosen),
    content: (choose) => [
      h("p", { class: "drop-title" }, t("batch.drop")),
      h(
        "div",
        { class: "row center wrap" },
        button({ icon: "upload", label: t("batch.choose"), class: "primary", on: choose }),
        button({ icon: "download", label: t("batch.example"), on: saveExample }),
      ),
      h("p", { class: "hint" }, t("batch.columns")),
    ],
  });
  fill(form, drop);

  const again = () => {
    turn += 1;
    fill(form, drop);
    form.querySelector("button")?.focus();
  };
  /** @type {HTMLInputElement | null} */
  const choice = drop.querySelector("input[type=file]");

  /** @param {File} chosen */
  const look = async (chosen) => {
    const mine = ++turn;
    const text = await chosen.text();
    const rows = readRows(text, chosen.name);
    await checkNames(rows);
    // another file was dropped meanwhile
    if (mine !== turn) return;
    const wrong = rows.filter((row) => row.wrong);
    const said = h("div", { "aria-live": "polite" });
    const jsonl = /\.(jsonl|ndjson)$/i.test(chosen.name) || text.trimStart().startsWith("{");
    const go = button({
      icon: "spark",
      label: t("batch.go", { count: rows.length }),
      class: "primary",
      disabled: !rows.length || wrong.length > 0,
      on: async () => {
        go.classList.add("busy");
        try {
          await request("/v1/batches", { method: "POST", body: text, headers: { "Content-Type": jsonl ? "application/jsonl" : "text/csv" } });
          again();
          onSent();
        } catch (error) {
          fill(said, failure(error, null));
        } finally {
          go.classList.remove("busy");
        }
      },
    });
    const used = columns.filter((column) => rows.some((row) => row.values[column]));
    fill(
      form,
      h("h2", { tabIndex: -1 }, chosen.name),
      h("p", { class: wrong.length ? "hint warn" : "hint" }, wrong.length ? t("batch.wrong", { count: wrong.length }) : t("batch.rows", { count: rows.length })),
      table(used, rows.slice(0, rowsShown).map((row) => ({ line: row.line, wrong: row.wrong, cells: used.map((column) => row.values[column] ?? "") }))),
      rows.length > rowsShown ? h("p", { class: "hint" }, t("batch.first", { count: rowsShown })) : null,
      said,
      h(
        "div",
        { class: "row wrap" },
        wrong.length ? null : go,
        wrong.length ? button({ icon: "upload", label: t("batch.other"), class: "primary", on: () => choice?.click() }) : null,
        button({ label: t("cancel"), on: again }),
      ),
    );
    const head = form.querySelector("h2");
    head?.focus();
    head?.scrollIntoView({ block: "nearest" });
  };
  return look;
}

/** Rows for nobody that is known here, or for several, are told before they are sent. @param {import("./rows.js").Row[]} rows */
async function checkNames(rows) {
  if (!rows.some((row) => row.values.person)) return;
  // somebody may have been added elsewhere since
  const known = await loadPeople().then(() => people.get(), () => null);
  if (!known) return;
  for (const row of rows) {
    const name = row.values.person?.toLowerCase();
    if (!name || row.wrong || known.some((person) => person.id === row.values.person)) continue;
    const found = known.filter((person) => person.name.toLowerCase() === name).length;
    if (found !== 1) row.wrong = found ? "several" : "nobody";
  }
}

/** @param {string[]} names @param {{ line: number, wrong: string | null, cells: (string | Node)[] }[]} rows @param {string} [first] */
function table(names, rows, first = t("batch.line")) {
  const wrong = rows.some((row) => row.wrong);
  return h(
    "div",
    { class: "table", tabIndex: 0, role: "region", "aria-label": t("batch.table") },
    h(
      "table",
      // roles of their own: on a phone the rows are laid out otherwise, which takes them from some browsers
      { role: "table" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...[first, ...(wrong ? [t("batch.problem")] : []), ...names].map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
      h(
        "tbody",
        { role: "rowgroup" },
        ...rows.map((row) =>
          h(
            "tr",
            { class: row.wrong ? "wrong" : "", role: "row" },
            h("td", { class: "figure", role: "cell" }, row.line),
            wrong ? h("td", { role: "cell" }, row.wrong ? t(`batch.wrong.${row.wrong}`) : "") : null,
            ...row.cells.map((cell, at) => h("td", { class: ["prompt", t("batch.prompt")].includes(names[at]) ? "words" : "", role: "cell" }, cell)),
          ),
        ),
      ),
    ),
  );
}

/** @param {Api.Batch} first @param {() => void} reload */
function batchCard(first, reload) {
  const words = h("p", { class: "job-status", role: "status" });
  const bar = h("div", { class: "bar" }, h("span"));
  const actions = h("div", { class: "row wrap" });
  const rows = h("div");
  let now = first;
  let drawn = "";
  const details = h("details", { class: "told-box" }, h("summary", null, t("batch.per_row")), rows);
  details.addEventListener("toggle", () => details.open && drawRows());

  /** What the rows that are shown were drawn from. @type {string[]} */
  let shown = [];
  /** What can be opened large, in the order of the rows. @type {import("./viewer.js").Item[]} */
  let pictures = [];
  /** @param {string} id */
  const openLarge = async (id) => {
    const { openViewer } = await import("./viewer.js");
    openViewer(pictures, pictures.findIndex((one) => one.id === id), (_, { deleted }) => deleted && drawRows());
  };
  const drawRows = async () => {
    try {
      const answer = await request(`/v1/batches/${first.id}/results`);
      const all = (await answer.text()).split("\n").filter(Boolean);
      const lines = all.slice(0, rowsShown);
      const read = lines.map((line) => JSON.parse(line));
      pictures = read.flatMap((said) => (said.output ?? []).map((/** @type {Api.Output} */ one) => ({ ...one, job: said.job })));
      const drawn = table(
        [t("batch.prompt"), t("batch.status"), t("batch.pictures")],
        read.map((said, index) => ({ line: index + 1, wrong: null, cells: [said.input?.prompt ?? "", statusOf(said), picturesOf(said, index + 1, openLarge)] })),
        t("batch.row"),
      );
      const [now, before] = [drawn, rows].map((place) => place.querySelectorAll("tbody tr"));
      // only rows that changed are put in anew: others would lose what has the focus in them
      if (before.length === now.length) lines.forEach((line, at) => line !== shown[at] && before[at].replaceWith(now[at]));
      else fill(rows, drawn, all.length > rowsShown ? h("p", { class: "hint table-note" }, t("batch.first", { count: rowsShown })) : null);
      shown = lines;
    } catch (error) {
      shown = [];
      fill(rows, failure(error, drawRows));
    }
  };

  const zip = button({
    icon: "download",
    label: t("batch.zip"),
    class: "small",
    on: async () => {
      zip.classList.add("busy");
      try {
        save(await blobOf(`/v1/batches/${first.id}/pictures.zip`), `${first.id}.zip`);
      } catch (error) {
        notice(explainShort(error));
      } finally {
        zip.classList.remove("busy");
      }
    },
  });

  return {
    element: h(
      "article",
      { class: "job batch", "aria-label": t("batch.of", { moment: moment(first.created) }) },
      h("header", { class: "job-head" }, h("div", { class: "job-words" }, h("h2", null, t("batch.of", { moment: moment(first.created) })), words), actions),
      bar,
      details,
    ),
    /** @param {Api.Batch} batch */
    update(batch) {
      now = batch;
      const { counts } = batch;
      const over = counts.succeeded + counts.failed + counts.canceled;
      words.textContent = [
        t("batch.done", { done: counts.succeeded, total: counts.total }),
        counts.failed ? t("batch.failed", { count: counts.failed }) : "",
        counts.canceled ? t("batch.canceled", { count: counts.canceled }) : "",
      ]
        .filter(Boolean)
        .join(" · ");
      bar.style.setProperty("--done", String(counts.total ? over / counts.total : 0));
      const state = isDone(batch) ? "done" : "open";
      if (state !== drawn) {
        drawn = state;
        fill(
          actions,
          state === "open"
            ? button({
                icon: "close",
                label: t("cancel"),
                class: "small",
                on: async () => {
                  const sure = await confirm({ title: t("batch.cancel"), body: t("batch.cancel.text"), yes: t("batch.cancel"), danger: true });
                  if (sure) await call(`/v1/batches/${now.id}/cancel`, { method: "POST" }).then(reload, (error) => notice(explainShort(error)));
                },
              })
            : null,
          zip,
        );
      }
      zip.disabled = !counts.succeeded;
      bar.hidden = isDone(batch);
      if (details.open) drawRows();
    },
  };
}

/** @param {any} said a line of the results */
function statusOf(said) {
  const status = said.status ?? (said.error ? "failed" : "queued");
  const place = h("span", { class: `state ${status}` }, t(`batch.is.${status}`));
  const told = explainJob(said.error ?? null);
  return said.error ? h("span", null, place, " ", h("span", { class: "hint" }, `${told.what} ${told.todo} `, told.said ? h("span", { lang: "en" }, told.said) : null)) : place;
}

/** @param {any} said a line of the results @param {number} row @param {(id: string) => void} open */
function picturesOf(said, row, open) {
  /** @type {Api.Output[]} */
  const outputs = said.output ?? [];
  return h(
    "span",
    { class: "row" },
    ...outputs.slice(0, 4).map((output, at) => {
      const img = h("img", { alt: "", width: 40, height: 40, loading: "lazy" });
      show(img, `/v1/images/${output.id}/thumb`);
      return h("button", { type: "button", class: "row-thumb", "aria-label": t("batch.open", { at: at + 1, row }), on: { click: () => open(output.id) } }, img);
    }),
    outputs.length || said.error || ["failed", "canceled"].includes(said.status) ? null : icon("wait"),
  );
}
