// Which web pages may connect: `ALLOWED_ORIGINS`, as the Python server's `origins`.

/** Whether a request with this `Origin` may connect; one without comes from no page. An empty setting lets any in. */
export function isOriginAllowed(origin: string | null, setting: string | undefined): boolean {
  const allowed = (setting ?? "").split(/[\s,]+/).filter((one) => one !== "");
  if (origin === null || allowed.length === 0) {
    return true;
  }
  const asked = normalOrigin(origin);
  return asked !== null && allowed.some((one) => normalOrigin(one) === asked);
}

/** Bring an origin into its one form; null if it is none (RFC 6454 §6.2). `null`, of pages without one, stays. */
function normalOrigin(origin: string): string | null {
  if (origin === "null") {
    return origin;
  }
  try {
    const url = new URL(origin);
    // An origin has nothing but scheme, host and port.
    const isBare = url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
    return isBare && !origin.endsWith("/") ? `${url.protocol}//${url.host}` : null;
  } catch {
    return null;
  }
}
