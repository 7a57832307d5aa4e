"""The pages: the demo for visitors and the console for operators, in Korean and English.

1. `/` is `index.html`, `/console` is `console.html`; neither holds inline script or style, so that
   `Content-Security-Policy: default-src 'self'` (plus `img-src data: blob:`, `media-src blob:`,
   `connect-src ws: wss:`) suffices.
2. `/static/…` is the directory `static/`: ES modules, style sheets, icons, one file of words per
   language under `static/i18n/`.
3. `/sdk/…` is the package `metaport.web.sdk` (the directory `clients/js/src`): the SDK that the
   pages are built on, and that other sites may import.

**A page uses nothing a visitor's browser would have to fetch from anywhere else.**

Query parameters of `/`, for kiosks and tests: `name`, `room`, `lang=ko|en`, `join=1` enters by
itself, `media=1` takes part in voice and video listening only, `microphone=1` and `camera=1` switch
those on. `window.metaport` is the SDK client once entered.
"""
