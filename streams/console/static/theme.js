// Not a module: it must have run before anything is painted, or the dark page begins with a white flash.
if (localStorage.getItem("npo.theme")) document.documentElement.dataset.theme = localStorage.getItem("npo.theme");
