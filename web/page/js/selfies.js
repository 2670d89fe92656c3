// Selfies that stay in this browser: for the avatar and for comparing. They are gone with the person.

const name = "imagine";
const shelf = "selfies";

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(shelf);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} work @returns {Promise<T>} */
async function using(mode, work) {
  const base = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = base.transaction(shelf, mode);
      const asked = work(transaction.objectStore(shelf));
      // what the browser has no room for fails here, after the request itself
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    base.close();
  }
}

/** @type {Map<string, string>} addresses of blobs, by person */
const addresses = new Map();

/** @param {string} person @param {Blob} face @returns {Promise<boolean>} whether there was room for it */
export function keepSelfie(person, face) {
  forgetAddress(person);
  return using("readwrite", (store) => store.put(face, person)).then(
    () => true,
    () => false,
  );
}

/** An address for an img, or none where this browser has no selfie. @param {string} person */
export async function selfieAddress(person) {
  const known = addresses.get(person);
  if (known) return known;
  /** @type {Blob | undefined} */
  const face = await using("readonly", (store) => store.get(person)).catch(() => undefined);
  if (!(face instanceof Blob)) return null;
  const address = URL.createObjectURL(face);
  addresses.set(person, address);
  return address;
}

/** @param {string} person */
export async function forgetSelfie(person) {
  forgetAddress(person);
  await using("readwrite", (store) => store.delete(person)).catch(() => undefined);
}

/** Forgets people that the service does not know any more, e.g. deleted elsewhere. @param {string[]} known */
export async function forgetOthers(known) {
  const kept = await using("readonly", (store) => store.getAllKeys()).catch(() => []);
  for (const person of kept.map(String)) if (!known.includes(person)) await forgetSelfie(person);
}

/** @param {string} person */
function forgetAddress(person) {
  const address = addresses.get(person);
  if (address) URL.revokeObjectURL(address);
  addresses.delete(person);
}
