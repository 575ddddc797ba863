// The shapes of what the API answers, for the checker of types; nothing here runs.

/** @typedef {[number, number]} Point In pixels of the page, origin top-left. */

/**
 * @typedef {object} Me
 * @property {string} name
 * @property {"admin"|"editor"|"reader"|"none"} role
 * @property {number|null} user_id
 * @property {boolean} local
 * @property {{name: string, collection_id: number, expires: string}|null} link If they have opened a link: of it.
 * @property {string} version
 * @property {boolean} can_train
 */

/** @typedef {Me["role"]} Role */

/**
 * @typedef {object} Member
 * @property {number} user_id
 * @property {string} name
 * @property {Role} role
 * @property {boolean} own Of this collection, rather than of all.
 */

/**
 * @typedef {object} User
 * @property {number} id
 * @property {string} name
 * @property {Role} role
 * @property {boolean} disabled
 */

/**
 * @typedef {object} Token A token of a script, or a link for readers.
 * @property {number} id
 * @property {string} name
 * @property {string|null} user_name
 * @property {Role} [role]
 * @property {number|null} [collection_id]
 * @property {string} expires
 * @property {string|null} last_used
 */

/**
 * @typedef {object} Collection
 * @property {number} id
 * @property {string} name
 * @property {string|null} deleted
 * @property {Record<string, any>} settings
 * @property {"admin"|"editor"|"reader"|"none"} role
 * @property {number} document_count
 * @property {number} page_count
 * @property {number} line_count
 * @property {number} checked_count
 * @property {number} doubtful_count
 */

/**
 * @typedef {object} ArchiveDocument
 * @property {number} id
 * @property {number} collection_id
 * @property {string} name
 * @property {number} position
 * @property {number|null} cover_page_id
 * @property {number} page_count
 * @property {number} line_count
 * @property {number} checked_count
 * @property {number} doubtful_count
 */

/**
 * @typedef {object} Page
 * @property {number} id
 * @property {number} document_id
 * @property {number} collection_id
 * @property {number} position
 * @property {string} label
 * @property {string} source_name
 * @property {number} width
 * @property {number} height
 * @property {"new"|"waiting"|"reading"|"read"|"failed"} state
 * @property {{kind: string, message: string, hint?: string|null}|null} fault
 * @property {number} version
 * @property {number} line_count
 * @property {number} checked_count
 * @property {number} doubtful_count
 * @property {number} [number] Which page of its document it is, where it is shown by itself.
 * @property {number|null} [previous_id]
 * @property {number|null} [next_id]
 */

/**
 * @typedef {object} Word
 * @property {string} text
 * @property {number} start
 * @property {number} end
 * @property {number|null} confidence
 * @property {Point[]|null} polygon
 */

/**
 * @typedef {object} Line
 * @property {number} id
 * @property {number} page_id
 * @property {number|null} region_id
 * @property {number} position
 * @property {Point[]} baseline
 * @property {Point[]} polygon
 * @property {boolean} printed
 * @property {string} text
 * @property {number|null} confidence
 * @property {boolean} checked
 * @property {number} revision
 * @property {"person"|"machine"|"import"|null} kind
 * @property {string} author
 * @property {string|null} created
 * @property {Word[]} words
 * @property {string|null} read_text What a machine has read last, if that is another text.
 * @property {{text: string, confidence: number|null}[]} alternatives
 */

/**
 * @typedef {object} Region
 * @property {number} id
 * @property {number} position
 * @property {string} kind
 * @property {Point[]} polygon
 */

/**
 * @typedef {object} Version
 * @property {number} number
 * @property {string} kind
 * @property {string} author
 * @property {string} text
 * @property {number|null} confidence
 * @property {string} created
 * @property {boolean} is_current
 */

/**
 * @typedef {object} Job
 * @property {number} id
 * @property {"read"|"import"|"export"|"train"} kind
 * @property {"waiting"|"running"|"done"|"failed"|"cancelled"} state
 * @property {string} title
 * @property {number|null} files Of an import: the title is the name of the first.
 * @property {number|null} collection_id
 * @property {number|null} document_id
 * @property {string} user_name
 * @property {number} total
 * @property {number} done
 * @property {number} failed
 * @property {boolean} cancelled
 * @property {{kind?: string, message: string, hint?: string|null}|null} fault
 * @property {Record<string, any>|null} result
 * @property {Record<string, any>|null} [progress]
 * @property {string} created
 * @property {number|null} seconds_left
 */

/**
 * @typedef {object} Hit
 * @property {number} line_id
 * @property {number} page_id
 * @property {number} document_id
 * @property {number} collection_id
 * @property {string} document_name
 * @property {number} page_number
 * @property {[number, number]} page_size
 * @property {string} text
 * @property {boolean} checked
 * @property {boolean} in_alternative
 * @property {{start: number, end: number, polygon: Point[]|null}[]} matches
 * @property {Point[]} polygon
 */

/**
 * A screen. What it returns ends it.
 * @typedef {(root: HTMLElement, address: Address) => Promise<View>|View} Show
 */

/**
 * @typedef {object} View
 * @property {() => void} [close]
 * @property {number} [collection] That it is about, for searching.
 * @property {boolean} [readOnly] Whether nothing may be changed; if false, files that are dropped go into the collection.
 * @property {() => Promise<void>} [export] Asks how to export what is shown.
 * @property {(address: Address) => boolean} [follow] Takes a new address without being built anew; true if it did.
 */

/**
 * @typedef {object} Address
 * @property {string[]} path
 * @property {URLSearchParams} query
 */

export {};
