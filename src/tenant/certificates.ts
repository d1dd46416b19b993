import { X509Certificate } from "node:crypto";
import type { NewCondition } from "../core/conditions.ts";
import { renewalTime } from "../supervise/index.ts";
import { AUTHORITIES, type Bundle, LEAF_FILES } from "./pki.ts";

/** One certificate of a bundle, and what is to come. */
export interface Expiry {
  readonly name: string;
  readonly issuer: boolean;
  readonly from: Date;
  readonly ends: Date;
  /** When it is due to be renewed; for an authority, when people are warned. */
  readonly due: Date;
}

const AUTHORITY_FILES = [...AUTHORITIES.flatMap((name) => [name, `${name}-next`, `${name}-old`]), "etcd-ca"];

/** Every certificate of a bundle, the one that ends first at the front. */
export function expiries(bundle: Bundle): readonly Expiry[] {
  const of = (issuer: boolean) => (name: string) => {
    const pem = bundle[`${name}.crt`];
    if (!pem) return [];
    const { validFromDate: from, validToDate: ends } = new X509Certificate(pem);
    return [{ name, issuer, from, ends, due: issuer ? warnTime(from, ends) : renewalTime(pem) }];
  };
  const all = [...LEAF_FILES.flatMap(of(false)), ...AUTHORITY_FILES.flatMap(of(true))];
  return all.sort((a, b) => a.ends.getTime() - b.ends.getTime());
}

/** When the next leaf of a bundle is due. */
export function nextRenewal(bundle: Bundle): Date | undefined {
  const leaves = expiries(bundle).filter((one) => !one.issuer);
  return leaves.map((one) => one.due).sort((a, b) => a.getTime() - b.getTime())[0];
}

/** Two years before a ten years' authority ends: changing it takes nodes that come and go. */
function warnTime(from: Date, ends: Date): Date {
  return new Date(ends.getTime() - (ends.getTime() - from.getTime()) / 5);
}

/** So long over are certificates after months off, or by a clock that leapt. */
export const LONG_OVER_MS = 30 * 86_400_000;
/** A clock that is wrong at start is usually put right within minutes: one that leapt ahead must say so for so long. */
export const BELIEVE_MS = 10 * 60_000;

export type ClockDoubt =
  /** It says a time before something was issued. Nothing is issued by such a clock. */
  | { readonly kind: "behind"; readonly message: string }
  /** It says everything ended long ago: so it is after a month off, or the clock leapt. Believed when it still says so after a while. */
  | { readonly kind: "ahead"; readonly message: string }
  /** It says an authority is over. What it would issue would be over too. */
  | { readonly kind: "after the authority"; readonly message: string };

/** Whether the clock may be believed, by the certificates that there are. */
export function clockDoubt(bundle: Bundle, now: Date): ClockDoubt | undefined {
  const all = expiries(bundle);
  const leaves = all.filter((one) => !one.issuer);
  const newest = all.toSorted((a, b) => b.from.getTime() - a.from.getTime())[0];
  const says = `the clock says ${now.toISOString()}`;
  if (newest && now < newest.from) {
    return { kind: "behind", message: `${says}, and certificate ${newest.name} is good only from ${newest.from.toISOString()} on` };
  }
  const over = all.find((one) => one.issuer && !one.name.endsWith("-old") && one.ends <= now);
  if (over) return { kind: "after the authority", message: `${says}, and authority ${over.name} ended ${over.ends.toISOString()}` };
  const last = leaves.toSorted((a, b) => b.ends.getTime() - a.ends.getTime()).find((one) => one.name !== "people");
  if (last && now.getTime() - last.ends.getTime() > LONG_OVER_MS) {
    return { kind: "ahead", message: `${says}, and the last certificate of all ended ${last.ends.toISOString()}` };
  }
  return undefined;
}

type Said = Omit<NewCondition, "observedGeneration">;

/** The condition `CertificatesFresh`: its text changes when a certificate does, and not with the time. */
export function freshness(bundle: Bundle, now: Date, doubt?: ClockDoubt): Said {
  const type = "CertificatesFresh";
  const all = expiries(bundle);
  const no = (reason: string, message: string): Said => ({ type, status: "False", reason, message });
  if (doubt) return no("ClockInDoubt", `${doubt.message}; nothing is renewed until the clock is right`);
  const over = all.filter((one) => one.ends <= now && !one.name.endsWith("-old"));
  if (over.length > 0) return no("Ended", over.map(text).join(", "));
  // renewed ones are replaced when they are due: one that is half way from there to its end is not being renewed
  const late = all.filter((one) => !one.issuer && now.getTime() > (one.due.getTime() + one.ends.getTime()) / 2);
  if (late.length > 0) return no("NotRenewed", late.map(text).join(", "));
  const warned = all.filter((one) => one.issuer && !one.name.endsWith("-old") && now > one.due);
  if (warned.length > 0) {
    return no("AuthorityEndsSoon", `${warned.map(text).join(", ")}; \`ironwright rotate-ca vc NAME\` makes the next one, with overlap`);
  }
  const [first] = all.filter((one) => !one.name.endsWith("-old"));
  const next = nextRenewal(bundle);
  return {
    type,
    status: "True",
    reason: "Fresh",
    message: first && next ? `the first to end is ${text(first)}; the next is renewed ${next.toISOString()}` : "there are none yet",
  };
}

/** What of two bundles is another certificate, by name. */
export function renewed(before: Bundle, after: Bundle): readonly string[] {
  return LEAF_FILES.filter((file) => before[`${file}.crt`] !== undefined && before[`${file}.crt`] !== after[`${file}.crt`]);
}

function text({ name, ends }: Expiry): string {
  return `${name}, ${ends.toISOString()}`;
}
