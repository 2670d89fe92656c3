//! `imagine people`: who can be drawn by name.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Server, ServerArgs, all, text};
use crate::card::{self, CardArgs};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  imagine people add \"Ada\" --photo a.jpg b.jpg --consent self
  imagine people list
  imagine people show person_0198c0de0198c0de0198c0de0198c0de
  imagine people rm person_0198c0de0198c0de0198c0de0198c0de --pictures
  imagine people card me.jpg
  imagine people card person_0198c0de0198c0de0198c0de0198c0de --set glasses=no

All but the card of photos ask the server that `imagine serve` runs; without --consent `add` shows the text that is agreed to.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PeopleArgs {
    #[command(subcommand)]
    command: PeopleCommand,
}

#[derive(Debug, Subcommand)]
enum PeopleCommand {
    /// List all people
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what is known of one, as JSON
    Show {
        /// As `list` shows it
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remember a person by one to five photos
    Add {
        name: String,
        /// JPEG, PNG or WebP
        #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
        photo: Vec<PathBuf>,
        /// Which face of each photo, counted from 0, largest first
        #[arg(long, value_name = "N", num_args = 1..)]
        face: Vec<u32>,
        /// You agree to the text that `add` shows without it: for yourself, or authorised by the person
        #[arg(long, value_enum, value_name = "WHO")]
        consent: Option<Basis>,
        /// Who has authorised you
        #[arg(long, value_name = "TEXT")]
        authorised_by: Option<String>,
        /// Keep the photos, encrypted; they are deleted otherwise
        #[arg(long)]
        keep_photos: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what photos tell of a person's looks, or what a server knows of them: to see, correct and leave out parts
    Card(CardArgs),
    /// Forget a person for good
    Rm {
        /// As `list` shows it
        id: String,
        /// Delete the pictures that were drawn of them, too
        #[arg(long)]
        pictures: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// On what ground a face is used.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Basis {
    #[value(name = "self")]
    Myself,
    Authorised,
}

pub fn run(args: &PeopleArgs) -> Result<(), Failure> {
    match &args.command {
        PeopleCommand::Card(args) => card::run(args),
        PeopleCommand::List { server } => {
            for person in all(&Server::new(server), "/v1/people")? {
                let photos = person.get("photos").and_then(Value::as_array).map_or(0, Vec::len);
                println!("{}\t{}\tphotos: {photos}", text(&person, "id"), text(&person, "name"));
            }
            Ok(())
        }
        PeopleCommand::Show { id, server } => print(&Server::new(server).get(&path(id)?)?),
        PeopleCommand::Rm { id, pictures, server } => {
            let pictures = if *pictures { "delete" } else { "keep" };
            print(&Server::new(server).delete(&format!("{}?pictures={pictures}", path(id)?))?)
        }
        PeopleCommand::Add { name, photo, face, consent, authorised_by, keep_photos, server } => {
            let server = Server::new(server);
            let text = server.get("/v1/consent")?;
            let Some(basis) = consent else {
                let english = text.pointer("/text/en").and_then(Value::as_str).unwrap_or_default();
                // A closed stderr leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "{english}");
                return Err(Failure::input("nobody is remembered without consent").hint(
                    "--consent self if you agree and this is you, --consent authorised if they allowed it",
                ));
            };
            let basis = match basis {
                Basis::Myself => "self",
                Basis::Authorised => "authorised",
            };
            let consent = json!({
                "basis": basis,
                "authorised_by": authorised_by,
                "text_version": text.get("version"),
                "text_sha256": text.get("sha256"),
                "agreed": true,
            });
            let mut form = Form::new()?;
            form.field("name", name);
            form.field("consent", &consent.to_string());
            form.field("keep_photos", if *keep_photos { "true" } else { "false" });
            for file in photo {
                let bytes =
                    std::fs::read(file).map_err(|e| Failure::input(format!("{}: {e}", file.display())))?;
                form.file("photo", &bytes);
            }
            for index in face {
                form.field("face", &index.to_string());
            }
            let (content_type, body) = form.finish();
            print(&server.post("/v1/people", &content_type, &body, None)?)
        }
    }
}

/// A person's place; an id is no way to other places.
pub fn path(id: &str) -> Result<String, Failure> {
    match id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Ok(format!("/v1/people/{id}")),
        false => Err(Failure::input(format!("\"{id}\" is no person's id"))),
    }
}

fn print(value: &Value) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value).map_err(Failure::failed)?);
    Ok(())
}

/// A form with files (RFC 7578).
struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    fn new() -> Result<Self, Failure> {
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|e| Failure::failed(format!("no random boundary: {e}")))?;
        let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { boundary, body: Vec::new() })
    }

    fn part(&mut self, disposition: &str, value: &[u8]) {
        let head = format!("--{}\r\ncontent-disposition: form-data; {disposition}\r\n\r\n", self.boundary);
        self.body.extend(head.as_bytes());
        self.body.extend(value);
        self.body.extend(b"\r\n");
    }

    fn field(&mut self, name: &str, value: &str) {
        self.part(&format!("name=\"{name}\""), value.as_bytes());
    }

    /// The file's own name is nobody's business.
    fn file(&mut self, name: &str, bytes: &[u8]) {
        self.part(&format!("name=\"{name}\"; filename=\"{name}\""), bytes);
    }

    fn finish(mut self) -> (String, Vec<u8>) {
        self.body.extend(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }
}
