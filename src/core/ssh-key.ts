import { createPrivateKey, createPublicKey } from "node:crypto";

/** An ed25519 key pair for SSH. */
export interface SshKey {
  /** OpenSSH's private key format. */
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA… COMMENT` */
  readonly publicKey: string;
}

export const SEED_BYTES = 32;
const TYPE = "ssh-ed25519";
const MAGIC = "openssh-key-v1\0";
/** RFC 8410 §7: what stands before the seed in PKCS #8. */
const PKCS8_OF_SEED = Buffer.from("302e020100300506032b657004220420", "hex");
/** Of a file that no cipher encrypts. */
const BLOCK_BYTES = 8;
const LINE = 70;

/**
 * The key pair of a seed, as OpenSSH's PROTOCOL.key writes it: without a passphrase.
 * @param seed {@link SEED_BYTES} bytes that nobody can guess
 */
export function sshKey(seed: Buffer, comment: string): SshKey {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_OF_SEED, seed]), format: "der", type: "pkcs8" });
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  const point = Buffer.from(x, "base64url");
  const wire = Buffer.concat([text(TYPE), text(point)]);
  // twice the same number, by which a wrong passphrase would show
  const content = Buffer.concat([Buffer.alloc(8), wire, text(Buffer.concat([seed, point])), text(comment)]);
  const padding = Buffer.from(Array.from({ length: -content.length & (BLOCK_BYTES - 1) }, (_, at) => at + 1));
  const keys = Buffer.alloc(4);
  keys.writeUInt32BE(1);
  const file = Buffer.concat([
    ...[Buffer.from(MAGIC), text("none"), text("none"), text("")],
    ...[keys, text(wire), text(Buffer.concat([content, padding]))],
  ]);
  const lines = file.toString("base64").match(new RegExp(`.{1,${LINE}}`, "g")) ?? [];
  return {
    privateKey: ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join("\n"),
    publicKey: `${TYPE} ${wire.toString("base64")} ${comment}`,
  };
}

/** RFC 4251 §5: a string. */
function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
