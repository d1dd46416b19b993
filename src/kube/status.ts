import { IronwrightError } from "../core/errors.ts";

/** metav1.Status: how an apiserver says no. */
export interface Status {
  readonly kind: "Status";
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly name?: string;
    readonly kind?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
  };
}

/** An answer that is not 2xx: the code, the Status where the apiserver sent one, and what it said. */
export interface Refusal {
  readonly code: number;
  readonly status?: Status;
  readonly text: string;
  readonly retryAfterMs?: number;
}

export function readRefusal(code: number, body: string, retryAfter: string | undefined): Refusal {
  const seconds = Number(retryAfter);
  const status = readStatus(body);
  return {
    code,
    text: status?.message ?? (body.slice(0, 500).trim() || `HTTP ${code}`),
    ...(status ? { status } : {}),
    ...(retryAfter !== undefined && Number.isFinite(seconds) ? { retryAfterMs: seconds * 1_000 } : {}),
  };
}

function readStatus(body: string): Status | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return isStatus(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isStatus(value: unknown): value is Status {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "Status";
}

/** The object is not there; not to be mistaken for a path that is not served (no CRD, wrong version). */
export function isAbsent(refusal: Refusal): boolean {
  return refusal.code === 404 && refusal.status?.details?.name !== undefined;
}

/** The coded error of a refusal. @param request what was asked, for people: `PUT /apis/…` */
export function refused(server: string, request: string, refusal: Refusal): IronwrightError {
  const reason = withFields(refusal);
  if (refusal.code === 409) return new IronwrightError("IRW_KUBE_CONFLICT", { object: request, reason });
  if (refusal.code === 410) return new IronwrightError("IRW_KUBE_EXPIRED", { what: request, reason });
  if (refusal.code === 429 || refusal.code >= 500)
    return new IronwrightError("IRW_KUBE_UNREACHABLE", { server, reason: `${request}: ${refusal.code} ${reason}` });
  return new IronwrightError("IRW_KUBE_REFUSED", { request, status: refusal.code, reason });
}

/** The apiserver's message, with the fields of causes it left out. */
function withFields({ status, text }: Refusal): string {
  const missing = (status?.details?.causes ?? []).filter((cause) => cause.field && !text.includes(cause.field));
  return missing.length === 0 ? text : `${text} (${missing.map((cause) => `${cause.field}: ${cause.message ?? ""}`).join("; ")})`;
}
