import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { IronwrightError, reasonOf } from "../core/errors.ts";

/** What it takes to talk to an apiserver. */
export interface Access {
  readonly server: string;
  /** Dialled in the server's stead. */
  readonly socketPath?: string;
  readonly tls: Tls;
  /** Called before each request; plugins answer from their cache while it is good. */
  credentials(): Promise<Credentials>;
}

export interface Tls {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Credentials {
  readonly authorization?: string;
  /** A client certificate a plugin gave: only then is it not in {@link Access.tls}. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

const named = <T extends z.ZodType>(what: string, value: T) => z.array(z.object({ name: z.string(), [what]: value }));
const text = z.string().optional();

const cluster = z.object({
  server: z.url({ protocol: /^https?$/ }),
  "certificate-authority": text,
  "certificate-authority-data": text,
  "insecure-skip-tls-verify": z.boolean().optional(),
  "tls-server-name": text,
});
const user = z.object({
  "client-certificate": text,
  "client-certificate-data": text,
  "client-key": text,
  "client-key-data": text,
  token: text,
  tokenFile: text,
  username: text,
  password: text,
  exec: z.unknown().optional(),
  "auth-provider": z.unknown().optional(),
});
const kubeconfigSchema = z.object({
  "current-context": z.string().optional(),
  clusters: named("cluster", cluster),
  users: named("user", user).optional(),
  contexts: named("context", z.object({ cluster: z.string(), user: z.string().optional() })),
});

type User = z.output<typeof user>;

/**
 * Reads the current context of a kubeconfig.
 * @param source YAML
 * @throws IRW_KUBECONFIG_INVALID naming the field
 */
export function readKubeconfig(source: string): Access {
  const config = validated(source);
  const context = find(config.contexts, config["current-context"], "context") as { cluster: string; user?: string };
  const to = find(config.clusters, context.cluster, "cluster") as z.output<typeof cluster>;
  const as: User = context.user ? (find(config.users ?? [], context.user, "user") as User) : {};
  const certificate = content(as, "client-certificate");
  const key = content(as, "client-key");
  const ca = content(to, "certificate-authority");
  return {
    server: to.server.replace(/\/+$/, ""),
    tls: {
      ...(ca ? { ca } : {}),
      ...(certificate ? { cert: certificate } : {}),
      ...(key ? { key } : {}),
      ...(to["tls-server-name"] ? { servername: to["tls-server-name"] } : {}),
      ...(to["insecure-skip-tls-verify"] ? { rejectUnauthorized: false } : {}),
    },
    credentials: as.exec || as["auth-provider"] ? pluginCredentials(source) : () => Promise.resolve(ownCredentials(as)),
  };
}

function validated(source: string): z.output<typeof kubeconfigSchema> {
  let document: unknown;
  try {
    document = parse(source);
  } catch (error) {
    throw new IronwrightError("IRW_KUBECONFIG_INVALID", { problem: reasonOf(error) }, error);
  }
  const parsed = kubeconfigSchema.safeParse(document);
  if (parsed.success) return parsed.data;
  const problem = parsed.error.issues.map((issue) => `${issue.path.join(".") || "(top)"}: ${issue.message}`).join("; ");
  throw new IronwrightError("IRW_KUBECONFIG_INVALID", { problem });
}

function find(list: readonly Record<string, unknown>[], name: string | undefined, what: string): unknown {
  const found = list.find((one) => one.name === name)?.[what];
  if (!found) throw new IronwrightError("IRW_KUBECONFIG_INVALID", { problem: `it has no ${what} ${JSON.stringify(name ?? "")}` });
  return found;
}

/** A field that is either inline in base64 (`NAME-data`) or a file (`NAME`). */
function content(from: object, name: string): Buffer | undefined {
  const fields = from as Readonly<Record<string, string | undefined>>;
  const inline = fields[`${name}-data`];
  if (inline) return Buffer.from(inline, "base64");
  const file = fields[name];
  return file ? readFileSync(file) : undefined;
}

function ownCredentials(as: User): Credentials {
  // a projected token is renewed in its file
  const token = as.tokenFile ? readFileSync(as.tokenFile, "utf8").trim() : as.token;
  if (token) return { authorization: `Bearer ${token}` };
  if (as.username) return { authorization: `Basic ${Buffer.from(`${as.username}:${as.password ?? ""}`).toString("base64")}` };
  return {};
}

/** Exec plugins and providers of clouds: the official client runs and caches them. It is large, so it is loaded only then. */
function pluginCredentials(source: string): () => Promise<Credentials> {
  type Applied = { headers?: Record<string, string>; cert?: string; key?: string };
  let loaded: Promise<{ applyToHTTPSOptions(options: Applied): Promise<void> }> | undefined;
  return async () => {
    loaded ??= import("@kubernetes/client-node").then(({ KubeConfig }) => {
      const config = new KubeConfig();
      config.loadFromString(source);
      return config as unknown as { applyToHTTPSOptions(options: Applied): Promise<void> };
    });
    const options: Applied = {};
    await (await loaded).applyToHTTPSOptions(options);
    const authorization = options.headers?.Authorization;
    return {
      ...(authorization ? { authorization } : {}),
      ...(options.cert && options.key ? { certificate: { cert: options.cert, key: options.key } } : {}),
    };
  };
}
