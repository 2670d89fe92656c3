// Reading the rows of a batch, to show them before anything is sent. The service reads the file itself.

/** @typedef {{ line: number, values: Record<string, string>, wrong: "prompt" | "json" | "nobody" | "several" | null }} Row */

/** @param {string} text @param {string} name @returns {Row[]} */
export function readRows(text, name) {
  return /\.(jsonl|ndjson)$/i.test(name) || text.trimStart().startsWith("{") ? readJsonl(text) : readCsv(text);
}

/** @param {string} text @returns {Row[]} */
function readJsonl(text) {
  return text.split(/\r?\n/).flatMap((line, index) => jsonRow(line, index + 1));
}

/** @param {string} line @param {number} at @returns {Row[]} none for an empty line */
function jsonRow(line, at) {
  if (!line.trim()) return [];
  try {
    const values = Object.fromEntries(
      Object.entries(JSON.parse(line)).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    );
    return [{ line: at, values, wrong: values.prompt ? null : "prompt" }];
  } catch {
    return [{ line: at, values: { prompt: line }, wrong: "json" }];
  }
}

/** RFC 4180: commas, quotes, line breaks inside quotes. @param {string} text @returns {Row[]} */
function readCsv(text) {
  const [head, ...rest] = csvRecords(text.replace(/^\uFEFF/, ""));
  if (!head) return [];
  const names = head.cells.map((cell) => cell.trim().toLowerCase());
  return rest.map(({ line, cells }) => {
    const values = Object.fromEntries(names.map((name, at) => [name, (cells[at] ?? "").trim()]));
    return { line, values, wrong: values.prompt ? null : /** @type {const} */ ("prompt") };
  });
}

/** @param {string} text */
function csvRecords(text) {
  /** @type {{ line: number, cells: string[] }[]} */
  const records = [];
  let cells = [""];
  let quoted = false;
  let line = 1;
  let from = 1;
  const end = () => {
    if (cells.length > 1 || cells[0].trim()) records.push({ line: from, cells });
    cells = [""];
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === "\n") line += 1;
    if (quoted) {
      if (letter !== '"') cells[cells.length - 1] += letter;
      else if (text[at + 1] === '"') {
        cells[cells.length - 1] += '"';
        at += 1;
      } else quoted = false;
    } else if (letter === '"') quoted = true;
    else if (letter === ",") cells.push("");
    else if (letter === "\n") {
      end();
      from = line;
    } else if (letter !== "\r") cells[cells.length - 1] += letter;
  }
  end();
  return records;
}
