/** Standard output: lines, and below them one of progress that changes on a terminal; elsewhere it is a line now and then. */
export class Screen {
  readonly #isTerminal = process.stdout.isTTY
  #shown = ''
  #isLineOpen = false

  say(line: string): void {
    this.endProgress()
    process.stdout.write(`${line}\n`)
  }

  progress(text: string): void {
    if (text === this.#shown) return
    this.#shown = text
    this.#isLineOpen = this.#isTerminal
    process.stdout.write(this.#isTerminal ? `\r\x1b[K${text}` : `${text}\n`)
  }

  /** What is shown stays. */
  endProgress(): void {
    if (this.#isLineOpen) process.stdout.write('\n')
    this.#isLineOpen = false
  }
}
