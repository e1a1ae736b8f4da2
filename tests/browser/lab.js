// What a page of the Lab knows about itself; put into every page that lab.py opens.
//
// `runs` counts commands that have not settled: between two queued cells the kernel alone says idle.
window.drive = {
  runs: 0,
  saved: false,
  panel() { return window.jupyterapp?.shell.currentWidget; },
  cells() { return this.panel()?.content?.widgets ?? []; },
  area(i) { return this.cells()[i].node.querySelector('.jp-Cell-outputArea'); },
  prompt(i) { return this.cells()[i].node.querySelector('.jp-InputPrompt')?.innerText.trim() ?? ''; },
  state() {
    const kernel = this.panel()?.sessionContext?.session?.kernel;
    const loaded = this.cells().length > 0 && this.cells().every(cell => !cell.isPlaceholder());
    return {
      loaded: loaded && this.panel().context.isReady, kernel: kernel?.status ?? 'none',
      connection: kernel?.connectionStatus ?? 'none', runs: this.runs,
      waiting: this.cells().flatMap((_, i) => this.prompt(i).startsWith('[*]') ? [i] : []),
      dialog: document.querySelector('.jp-Dialog')?.innerText ?? null,
    };
  },
  start(command) {
    this.runs++;
    window.jupyterapp.commands.execute(command)
      .catch(error => console.error(`${command} failed: ${error}`)).finally(() => { this.runs--; });
  },
  save() {
    this.saved = false;
    window.jupyterapp.commands.execute('docmanager:save').then(() => { this.saved = true; });
  },
  run(i) {
    this.panel().content.deselectAll();
    this.panel().content.activeCellIndex = i;
    this.start('notebook:run-cell');
  },
  text(i) {
    const outputs = this.area(i)?.querySelectorAll(':scope > .jp-OutputArea-child > .jp-OutputArea-output') ?? [];
    const shown = [...outputs].filter(output => !output.querySelector('.interp-footer'));
    return shown.map(output => output.innerText.trimEnd()).filter(Boolean).join('\n');
  },
  footer(i) { return this.area(i)?.querySelector('.interp-footer')?.innerText ?? ''; },
  async images(i) {
    const images = [...(this.area(i)?.querySelectorAll('img') ?? [])];
    await Promise.all(images.map(image => image.decode().catch(() => null)));
    return images.map(image => [image.naturalWidth, image.naturalHeight]);
  },
  contrasts(i) {
    const channels = colour => {
      const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
      const scale = colour.startsWith('color(') ? 255 : 1;
      return [red * scale, green * scale, blue * scale, alpha];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((value, n) => value * a + below[n] * (1 - a));
    const behind = element => {
      const layers = [];
      for (let e = element; e; e = e.parentElement) layers.push(channels(getComputedStyle(e).backgroundColor));
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const light = rgb => rgb.map(value => value / 255)
      .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
      .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
    const own = element => element.matches('input') ? element.value || element.placeholder
      : [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data).join('').trim();
    const seen = [...this.area(i).querySelectorAll('.jp-OutputArea-output *')]
      .filter(element => own(element) && !element.matches('style, option') && element.checkVisibility());
    return seen.map(element => {
      const back = behind(element);
      const lights = [light(back), light(over(channels(getComputedStyle(element).color), back))];
      return [own(element), (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05)];
    });
  },
  async hidden() {  // pixels outside the window, after the layout had a few frames to come to rest
    const view = this.panel().content.node.querySelector('.jp-WindowedPanel-outer') ?? this.panel().content.node;
    let hidden = null;
    for (let frame = 0, same = 0; frame < 12 && same < 3; frame++) {
      await new Promise(requestAnimationFrame);
      same = view.scrollHeight - view.clientHeight === hidden ? same + 1 : 0;
      hidden = view.scrollHeight - view.clientHeight;
    }
    return hidden;
  },
};
