// Signs a context for sesari.context. docs/clients.md says what it is made of.
import { createHmac } from "node:crypto";

export interface Key {
  id: string;
  secret: Buffer;
}

/** Reads "<id>:<base64>", as SESARI_CONTEXT_KEYS has it. The secret is what the base64 stands for. */
export function parseKey(text: string): Key {
  const [, id, base64] = /^([a-z0-9][a-z0-9_-]{0,31}):([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  if (id === undefined || base64 === undefined) throw new Error("expected <id>:<base64>");
  const secret = Buffer.from(base64, "base64");
  if (secret.length < 32 || secret.length > 64) throw new Error("a context key has 32 to 64 bytes");
  return { id, secret };
}

export interface Claims {
  /** "u" for a user, "s" for a background service. */
  kind: "u" | "s";
  actor: string;
  /** Empty for none. */
  workspace: string;
  /** The server's time, in microseconds since 1970: more than a number holds exactly in a few centuries. */
  issuedAt: bigint;
  /** Of the server's process that the transaction runs in; 0 binds the context to none. */
  pid: number;
}

export function sign(key: Key, claims: Claims): string {
  for (const part of [claims.actor, claims.workspace]) {
    if (!/^[a-z0-9_-]*$/.test(part)) throw new Error("an id has no other characters than a-z, 0-9, _ and -");
  }
  const signed = `1.${key.id}.${claims.kind}.${claims.actor}.${claims.workspace}.${claims.issuedAt}.${claims.pid}`;
  return `${signed}.${createHmac("sha256", key.secret).update(signed, "utf8").digest("hex")}`;
}

/** The server's time and process, asked on the connection that the transaction will run on. */
export const MOMENT = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS now, pg_backend_pid() AS pid";

/** Sets the context, for the transaction that is open. */
export const SET_CONTEXT = "SELECT set_config('sesari.context', $1, true)";
