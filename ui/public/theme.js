// Before the first paint: the theme that was chosen, if one was.
(function () {
  try {
    var theme = localStorage.getItem('thalweg.theme');
    if (theme === 'paper' || theme === 'terminal') document.documentElement.dataset.theme = theme;
  } catch (_) {
    // Storage is forbidden: the system's theme it is.
  }
})();
