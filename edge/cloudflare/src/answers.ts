// What was answered to requests with an idempotency key: a repeated one is answered alike, and does nothing.

const SECONDS = 300;
const MOST = 10_000;
const MOST_BYTES = 4 * 1024 * 1024;
// What a row costs beside its key and answer.
const OVERHEAD = 256;

/** Answers by key, on the disk: an eviction does not make a repeated request a new one. */
export class Answers {
  readonly #sql: SqlStorage;
  #count: number;
  #bytes: number;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
        until REAL NOT NULL, digest TEXT NOT NULL, answer TEXT NOT NULL);
    `);
    const query = "SELECT count(*) AS count, ifnull(sum(length(key) + length(answer)), 0) AS bytes FROM answers";
    const { count, bytes } = this.#sql.exec<{ count: number; bytes: number }>(query).one();
    this.#count = count;
    this.#bytes = bytes + count * OVERHEAD;
  }

  /** What was answered to a key: the answer, `conflict` if it was for another body, or null if nothing was. */
  find(key: string, digest: string, now: number): { answer: string } | "conflict" | null {
    this.#forget(now);
    const query = "SELECT digest, answer FROM answers WHERE key = ?";
    const [row] = this.#sql.exec<{ digest: string; answer: string }>(query, key).toArray();
    if (row === undefined) {
      return null;
    }
    return row.digest === digest ? { answer: row.answer } : "conflict";
  }

  /** To be called inside the transaction that does what is answered. */
  keep(key: string, digest: string, answer: string, now: number): void {
    const values = [key, now + SECONDS, digest, answer];
    this.#sql.exec("INSERT INTO answers (key, until, digest, answer) VALUES (?, ?, ?, ?)", ...values);
    this.#count += 1;
    this.#bytes += key.length + answer.length + OVERHEAD;
    while (this.#count > 1 && (this.#count > MOST || this.#bytes > MOST_BYTES)) {
      this.#drop("SELECT number, length(key) + length(answer) AS bytes FROM answers ORDER BY number LIMIT 1");
    }
  }

  #forget(now: number): void {
    const query = "SELECT number, length(key) + length(answer) AS bytes FROM answers WHERE until <= ? ORDER BY number";
    if (this.#count > 0) {
      this.#drop(query, now);
    }
  }

  #drop(query: string, ...values: number[]): void {
    for (const row of this.#sql.exec<{ number: number; bytes: number }>(query, ...values).toArray()) {
      this.#sql.exec("DELETE FROM answers WHERE number = ?", row.number);
      this.#count -= 1;
      this.#bytes -= row.bytes + OVERHEAD;
    }
  }
}
