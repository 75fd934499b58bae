/** Avro schemas that name types which stand elsewhere: made whole. */

const NAMED = ['record', 'error', 'enum', 'fixed']

/**
 * The schema with each type of `known` (by full name) written out where it is first named. Names that nobody knows
 * stay: whoever parses the result says so.
 */
export function withReferences(schema: unknown, known: ReadonlyMap<string, unknown>): unknown {
  const defined = new Set<string>()
  const whole = (part: unknown, namespace: string): unknown => {
    if (typeof part === 'string') {
      const name = fullName(part, namespace)
      return known.has(name) && !defined.has(name) ? whole(known.get(name), '') : part
    }
    if (Array.isArray(part)) return part.map((branch) => whole(branch, namespace))
    if (!isObject(part)) return part
    const { type, name } = part
    if (typeof type !== 'string') return { ...part, type: whole(type, namespace) }
    if (NAMED.includes(type) && typeof name === 'string') {
      const own = typeof part.namespace === 'string' ? part.namespace : namespace
      const full = fullName(name, own)
      defined.add(full)
      if (!Array.isArray(part.fields)) return part
      const inside = full.slice(0, Math.max(0, full.lastIndexOf('.')))
      const fields = part.fields.map((field) =>
        isObject(field) ? { ...field, type: whole(field.type, inside) } : field,
      )
      return { ...part, fields }
    }
    if (type === 'array') return { ...part, items: whole(part.items, namespace) }
    if (type === 'map') return { ...part, values: whole(part.values, namespace) }
    const found = whole(type, namespace)
    return found === type ? part : { ...part, type: found }
  }
  return whole(schema, '')
}

const fullName = (name: string, namespace: string): string =>
  name.includes('.') || namespace === '' ? name : `${namespace}.${name}`

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
