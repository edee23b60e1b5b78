// JSON as text: payloads pass through with all their digits, which JSON.parse would round beyond 2**53.

/** Whether a text is JSON. It is parsed for nothing else. */
export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Remove the blanks between the parts of a JSON text; `text` has to be JSON. */
export function compact(text: string): string {
  // Strings are matched, so that what is in them stays.
  return text.replace(/"(?:[^"\\]|\\.)*"|[ \t\n\r]+/g, (part) => (part.startsWith('"') ? part : ""));
}

/** The text of each member of a JSON object, the last one where a name is repeated; `text` has to be a JSON object. */
export function members(text: string): Map<string, string> {
  const found = new Map<string, string>();
  let depth = 0;
  let name: string | null = null;
  let start = -1;
  // Whole strings, and the signs that give a text its form; blanks, numbers and words are in between.
  for (const { 0: part, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]/g)) {
    if (depth === 1 && name === null && part.startsWith('"')) {
      name = JSON.parse(part) as string;
    } else if (depth === 1 && part === ":" && start < 0) {
      start = index + 1;
    } else if (depth === 1 && (part === "," || part === "}") && name !== null) {
      found.set(name, text.slice(start, index).trim());
      name = null;
      start = -1;
    }
    depth += part === "{" || part === "[" ? 1 : part === "}" || part === "]" ? -1 : 0;
  }
  return found;
}
