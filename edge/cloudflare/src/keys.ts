// Secrets: compared in a time that says nothing of them.

export const MIN_KEY = 16;

const encoder = new TextEncoder();

/** Whether two texts are the same. Their digests are compared: those have one length, whatever is presented. */
export async function isSame(presented: string, expected: string): Promise<boolean> {
  const [one, other] = await Promise.all(
    [presented, expected].map((text) => crypto.subtle.digest("SHA-256", encoder.encode(text))),
  );
  return crypto.subtle.timingSafeEqual(one as ArrayBuffer, other as ArrayBuffer);
}

/** What is wrong with the key that publishers have to present; null if nothing is. */
export function keyFault(key: string | null | undefined): string | null {
  // Bare workerd has null for what its environment lacks.
  if (key === undefined || key === null || key === "") {
    return "publishing is off: the secret PUBLISH_KEY is not set";
  }
  if (key.length < MIN_KEY || !/^[!-~]+$/.test(key)) {
    return `publishing is off: the secret PUBLISH_KEY needs at least ${MIN_KEY} characters, ASCII and no spaces`;
  }
  return null;
}

/** Keys that a request presents: `X-API-Key: ...`, or `Authorization: apikey ...`. */
export function presentedKeys(headers: Headers): string[] {
  const [scheme, ...rest] = (headers.get("Authorization") ?? "").split(" ");
  const keys = [headers.get("X-API-Key"), scheme?.toLowerCase() === "apikey" ? rest.join(" ").trim() : null];
  return keys.filter((key) => key !== null);
}
