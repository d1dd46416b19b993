/** Of the caller's environment, what the root's run keeps: where programs and files are, and ways through a proxy. */
const KEPT = /^(PATH|HOME|TMPDIR|CI|NO_COLOR|FORCE_COLOR|IRONWRIGHT_\w+|(https?|no|all)_proxy)$/i;

/**
 * @typedef {object} Caller
 * @property {number} uid
 * @property {number} gid
 * @property {boolean} sudo whether there is one on the PATH
 * @property {Readonly<Record<string, string | undefined>>} env
 * @property {string} command what the person typed, e.g. `npm run demo`
 *
 * @typedef {{ go: "as we are" } | { go: "by sudo", prefix: readonly string[], owner: string, says: string } | { go: "nowhere", says: string }} Rights
 */

/**
 * How what needs root gets it: network namespaces, mounts and ports below 1024 are root's.
 * @param {Caller} caller
 * @returns {Rights}
 */
export function rightsFor({ uid, gid, sudo, env, command }) {
  if (uid === 0) return { go: "as we are" };
  if (!sudo) return { go: "nowhere", says: `${command} needs root, and there is no sudo; to mend it: su -c '${command}'` };
  const kept = Object.entries(env).flatMap(([name, value]) => (KEPT.test(name) && value !== undefined ? [`${name}=${value}`] : []));
  return {
    go: "by sudo",
    prefix: ["sudo", "env", ...kept],
    owner: `${uid}:${gid}`,
    says: `${command} needs root for network namespaces and mounts: it goes on by sudo; files in the cache and node_modules stay yours`,
  };
}
