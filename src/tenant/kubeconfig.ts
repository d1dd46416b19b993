import { stringify } from "yaml";
import type { KeyedCertificate } from "../supervise/index.ts";

export interface Credentials {
  readonly server: string;
  /** What the server's certificate is asked for, and who is meant where many are behind one address; without it, the server's own name. */
  readonly serverName?: string;
  /** PEM of the authority the server's certificate must come from. */
  readonly ca: string;
  readonly user: string;
  readonly cluster: string;
  readonly client: KeyedCertificate;
}

/** A kubeconfig that carries everything in itself. */
export function kubeconfig({ server, serverName, ca, user, cluster, client }: Credentials): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: cluster,
        cluster: { server, ...(serverName ? { "tls-server-name": serverName } : {}), "certificate-authority-data": base64(ca) },
      },
    ],
    users: [{ name: user, user: { "client-certificate-data": base64(client.certificate), "client-key-data": base64(client.key) } }],
    contexts: [{ name: cluster, context: { cluster, user } }],
    "current-context": cluster,
  });
}

/** A kubeconfig that names files, which client-go reads again when they change: certificates are renewed without a restart. */
export function kubeconfigOfFiles(
  server: string,
  files: { readonly ca: string; readonly certificate: string; readonly key: string },
): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "tenant", cluster: { server, "certificate-authority": files.ca } }],
    users: [{ name: "self", user: { "client-certificate": files.certificate, "client-key": files.key } }],
    contexts: [{ name: "self", context: { cluster: "tenant", user: "self" } }],
    "current-context": "self",
  });
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
