import { z } from "zod";
import { IronwrightError } from "../core/errors.ts";
import type { Answer, Transport } from "./transport.ts";

/** Authenticated requests to one BMC. */
export interface Session {
  request(
    method: "GET" | "POST" | "PATCH",
    path: string,
    options?: { readonly body?: object; readonly etag?: string | undefined },
  ): Promise<Answer>;
  close(): Promise<void>;
}

const SESSIONS = "/redfish/v1/SessionService/Sessions";
const errorBody = z.object({
  error: z.object({
    message: z.string().optional(),
    "@Message.ExtendedInfo": z.array(z.object({ Message: z.string().optional() })).optional(),
  }),
});

/**
 * One session a BMC (they have a handful), made when first needed, ended by `close`. A BMC without sessions, or with none left, gets
 * Basic authentication. A refused password is tried once and not again: BMCs lock accounts.
 * @throws IRW_BMC_CREDENTIALS, and for any other refusal IRW_BMC_REFUSED with the BMC's own words
 */
export function createSession(
  transport: Transport,
  address: string,
  credentials: { readonly username: string; readonly password: string },
): Session {
  const basic = { authorization: `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}` };
  let login: { headers: Readonly<Record<string, string>>; place?: string } | undefined;
  let refused = false;

  const wrong = () => {
    refused = true;
    return new IronwrightError("IRW_BMC_CREDENTIALS", { address, user: credentials.username });
  };

  async function logIn() {
    if (refused) throw wrong();
    const answer = await transport.send("POST", SESSIONS, {}, { UserName: credentials.username, Password: credentials.password });
    if (answer.status === 401 || answer.status === 403) throw wrong();
    if (answer.status === 201 && answer.token) {
      return {
        headers: { "x-auth-token": answer.token },
        ...(answer.location ? { place: new URL(answer.location, "http://bmc").pathname } : {}),
      };
    }
    return { headers: basic };
  }

  return {
    async request(method, path, { body, etag } = {}) {
      for (let attempt = 0; ; attempt += 1) {
        login ??= await logIn();
        const answer = await transport.send(method, path, { ...login.headers, ...(etag ? { "if-match": etag } : {}) }, body);
        if (answer.status === 401) {
          // a session ends when the BMC restarts; a second 401 in a row is a refusal
          if (login.headers === basic || attempt > 0) throw wrong();
          login = undefined;
          continue;
        }
        // a redirect is not followed: it would take the credentials to wherever it leads
        if (answer.status >= 300)
          throw new IronwrightError("IRW_BMC_REFUSED", {
            address,
            request: `${method} ${path}`,
            status: answer.status,
            reason: wordsOf(answer.body),
          });
        return answer;
      }
    },
    async close() {
      if (login?.place) await transport.send("DELETE", login.place, login.headers).catch(() => undefined);
      login = undefined;
      await transport.close();
    },
  };
}

function wordsOf(body: unknown): string {
  const parsed = errorBody.safeParse(body);
  if (!parsed.success) return "no reason given";
  const { error } = parsed.data;
  return (
    (error["@Message.ExtendedInfo"]?.map((one) => one.Message).filter((text) => text) ?? []).join(" ") ||
    (error.message ?? "no reason given")
  );
}
