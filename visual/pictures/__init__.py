"""Events as pixels: still pictures, panels and turntables."""
