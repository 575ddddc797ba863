// What the browser keeps for us. It may deny storage altogether (private windows, settings): then nothing is kept, and
// all else works.

/**
 * @param {string} key
 * @returns {string|null}
 */
export function recall(key) {
  try {
    return localStorage.getItem(`quill.${key}`);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string|null} value
 * @returns {boolean} Whether it is kept.
 */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(`quill.${key}`);
    else localStorage.setItem(`quill.${key}`, value);
    return true;
  } catch {
    return false;
  }
}

/**
 * All that is kept under keys that begin so.
 * @param {string} start
 * @returns {[string, string][]}
 */
export function recallAll(start) {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(`quill.${start}`));
    return keys.map((key) => [key.slice(6), localStorage.getItem(key) ?? ""]);
  } catch {
    return [];
  }
}
