// The theme that was chosen, before anything is painted: "auto", "light" or "dark".
document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
