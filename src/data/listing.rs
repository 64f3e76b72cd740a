//! The images or sounds of a folder, or of one folder for each class.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plural;
use crate::error::{Error, Result};

/// What a file holds, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Image,
    Sound,
}

impl Medium {
    /// What the file holds; `None` where its name does not say that it is one of these.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "png" | "jpg" | "jpeg" | "bmp" | "webp" => Some(Self::Image),
            "wav" => Some(Self::Sound),
            _ => None,
        }
    }

    /// In words, for a build that cannot read it.
    #[cfg(not(feature = "media"))]
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Image => "images",
            Self::Sound => "sound",
        }
    }
}

/// Files of one kind, in the order in which they become samples.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) path: PathBuf,
    pub(super) medium: Medium,
    pub(super) files: Vec<(PathBuf, Option<i64>)>,
    classes: usize,
    left_out: Vec<PathBuf>,
}

impl Listing {
    /// Lists a folder, or takes a single file; `None` where no image or sound is there.
    ///
    /// A folder without such files whose sub-folders have some has a class for each: the number that its name is, if all
    /// names are numbers, else its position among the sorted names. Classes take turns, so that the first samples of a
    /// large folder are of all of them. Hidden files are passed over in silence, others that are neither with a word in
    /// [`Self::describe`].
    ///
    /// # Errors
    /// Fails where a folder cannot be read, or images and sounds lie side by side, or beside folders of them.
    pub(super) fn find(path: &Path) -> Result<Option<Self>> {
        if path.is_file() {
            return Ok(Medium::of(path).map(|medium| Self {
                path: path.to_owned(),
                medium,
                files: vec![(path.to_owned(), None)],
                classes: 0,
                left_out: Vec::new(),
            }));
        }
        let (files, mut left_out, folders) = entries(path)?;
        let mut classes = Vec::new();
        for folder in folders {
            let (files, others, _) = entries(&folder)?;
            if !files.is_empty() {
                left_out.extend(others);
                classes.push((folder, files));
            }
        }
        let files = match (files.is_empty(), classes.is_empty()) {
            (true, true) => return Ok(None),
            (false, true) => files.into_iter().map(|file| (file, None)).collect(),
            (true, false) => in_turn(&classes),
            (false, false) => {
                return Err(mixed(path, &files[0], &classes[0].0)
                    .expected("either files, or one folder for each class with files in it"));
            }
        };
        let medium = files.first().and_then(|(file, _)| Medium::of(file)).unwrap_or(Medium::Image);
        if let Some((other, _)) = files.iter().find(|(file, _)| Medium::of(file) != Some(medium)) {
            return Err(mixed(path, &files[0].0, other).expected("either images or sound"));
        }
        Ok(Some(Self { path: path.to_owned(), medium, files, classes: classes.len(), left_out }))
    }

    /// Where the files lie, how many classes there are and what is left out.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("`{}`", self.path.display());
        if self.classes > 0 {
            text += &format!(" in {} {}", self.classes, if self.classes == 1 { "class" } else { "classes" });
        }
        if let Some(first) = self.left_out.first() {
            let name = first.file_name().unwrap_or_default().to_string_lossy();
            text += &format!(", without {} (`{name}`)", plural(self.left_out.len(), "other file"));
        }
        text
    }
}

/// The images and sounds of a folder, its other files, and its folders, each in the order of their names.
fn entries(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>, Vec<PathBuf>)> {
    let read_error = |e| Error::io("read the folder", path, e);
    let (mut files, mut others, mut folders) = (Vec::new(), Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let file = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        match (file.is_dir(), Medium::of(&file)) {
            (true, _) => folders.push(file),
            (false, Some(_)) => files.push(file),
            (false, None) => others.push(file),
        }
    }
    files.sort();
    others.sort();
    folders.sort();
    Ok((files, others, folders))
}

/// The files of all classes: the first of each, then the second of each, and so on.
fn in_turn(classes: &[(PathBuf, Vec<PathBuf>)]) -> Vec<(PathBuf, Option<i64>)> {
    let number = |folder: &Path| folder.file_name()?.to_str()?.parse::<i64>().ok().filter(|&number| number >= 0);
    let numbers: Option<Vec<i64>> = classes.iter().map(|(folder, _)| number(folder)).collect();
    let mut ordered = BTreeMap::new();
    for (position, (_, files)) in classes.iter().enumerate() {
        let class = numbers.as_ref().map_or(position as i64, |numbers| numbers[position]);
        for (round, file) in files.iter().enumerate() {
            ordered.insert((round, class, position), file.clone());
        }
    }
    ordered.into_iter().map(|((_, class, _), file)| (file, Some(class))).collect()
}

fn mixed(path: &Path, first: &Path, other: &Path) -> Error {
    Error::invalid_data(format!("folder `{}` mixes two kinds of data", path.display()))
        .found(format!("`{}` and `{}`", first.display(), other.display()))
        .help("name one of its folders")
}
