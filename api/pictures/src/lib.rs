//! Encoded pictures: PNG that says how it was made, JPEG, WebP, thumbnails.
