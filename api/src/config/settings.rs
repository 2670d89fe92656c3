//! Every setting there is.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Setting;
use super::layers::{ConfigError, Merged};
use super::value::{Secret, Value};

/// Declares the sections: a struct each, and the table of all settings.
macro_rules! settings {
    ($( $(#[$about:meta])* $section:ident: $name:ident { $( $key:ident: $kind:ty = $default:literal, $help:literal; )* } )*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $( #[doc = $help] pub $key: $kind, )* }
        )*

        /// The whole configuration.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config { $( pub $section: $name, )* }

        impl Config {
            /// Every setting, in the order of the documentation.
            pub const SETTINGS: &'static [Setting] = &[ $( $( Setting {
                section: stringify!($section),
                key: stringify!($key),
                kind: <$kind as Value>::KIND,
                default: $default,
                help: $help,
            }, )* )* ];

            pub(super) fn of(merged: &Merged) -> Result<Self, ConfigError> {
                Ok(Self { $( $section: $name { $( $key: merged.value(stringify!($key), $default)?, )* }, )* })
            }
        }
    };
}

settings! {
    /// Who may connect, and how.
    server: ServerSettings {
        listen: SocketAddr = "127.0.0.1:8790", "Where the server listens; port 0 takes a free one. Anything but a loopback address demands API keys.";
        require_key: bool = "false", "Demand an API key on a loopback address too.";
        public_url: Option<String> = "", "How clients reach the server, for absolute links, e.g. `https://imagine.example.org`. Without it the request's own Host is used.";
        allowed_hosts: Vec<String> = "", "Host names under which the server may be used without a key, beside `localhost` and loopback addresses.";
        head_seconds: u64 = "30", "How long a request's head may take to arrive. A connection on which nothing is asked is closed after the same time.";
        body_pause_seconds: u64 = "30", "How long a request's body may pause.";
        body_seconds: u64 = "600", "How long a request's body may take to arrive.";
        shutdown_seconds: u64 = "30", "How long requests and jobs under way may take to end after SIGTERM or Ctrl+C.";
    }
    /// What is written about the work.
    log: LogSettings {
        log: String = "info", "What is logged: `error`, `warn`, `info`, `debug`, or directives as `tracing` knows them. Never prompts, pictures or embeddings.";
        log_format: String = "text", "`text` for people, `json` for machines: an object a line.";
    }
    /// Where everything lies.
    storage: StorageSettings {
        data_dir: Option<PathBuf> = "", "Folder of the database, pictures and master key. Without it `imagine` in the user's data folder.";
        database_url: Option<Secret> = "", "`postgres://…` for several machines. Without it SQLite in the data folder.";
        master_key_file: Option<PathBuf> = "", "File with the key that wraps every person's key. Without it `master.key` in the data folder, made at the first start.";
        blobs: Option<String> = "", "`s3://BUCKET/PREFIX` for pictures in S3. Without it a folder in the data folder.";
        s3_endpoint: Option<String> = "", "URL of an S3 server that is not Amazon's.";
        s3_region: Option<String> = "", "Region of the bucket; else `AWS_REGION`, then the profile's, then `us-east-1`.";
        s3_access_key_id: Option<Secret> = "", "Access key. Without it what Amazon's own tools would take: `AWS_*` variables, the profile in `~/.aws` (no single sign-on), a web identity, the role of a container or machine.";
        s3_secret_access_key: Option<Secret> = "", "Secret to the access key.";
    }
    /// What draws.
    model: ModelSettings {
        model: String = "starter", "Name of a model, or a checkpoint's folder or file.";
        tokenizer: Option<PathBuf> = "", "Folder of the tokenizer, for a checkpoint file with a vocabulary of its own.";
        prediction: Option<String> = "", "What the U-Net of a checkpoint file predicts where the file does not say it: `epsilon`, `v_prediction`.";
        adapter: Option<PathBuf> = "", "File of the identity adapter. Without it the one that lies with the model, if there is one.";
        adapter_kind: Option<String> = "", "Kind of the adapter where its file's name does not tell, e.g. `faceid-plusv2`.";
        image_encoder: Option<PathBuf> = "", "Folder or file of the CLIP vision encoder, for adapters that look at the face. Without it `image_encoder` beside the adapter.";
        controlnet: Option<PathBuf> = "", "Folder or file of the ControlNet, for InstantID. Without it `ControlNetModel` beside the adapter.";
        vae: Option<PathBuf> = "", "Folder or file of an autoencoder to take in the place of the model's.";
        unet: Option<PathBuf> = "", "File of a U-Net's weights under diffusers' names, or its folder, to take in the place of the model's.";
        lora: Vec<String> = "", "LoRAs to merge into the model, each `FILE` or `FILE:WEIGHT`.";
        preset: Option<String> = "", "Recipe for few steps, e.g. `lightning-4`; its steps, guidance and sampler become the model's defaults.";
        face_encoder: Option<String> = "", "InsightFace pack (folder or name) for the faces. Without it the one that fits the adapter.";
        accept_licence: Option<String> = "", "Accept the licence of this face encoder; needed once, remembered.";
        device: String = "auto", "`auto`, `cpu`, `cuda`, `cuda:1`.";
        dtype: String = "auto", "`auto`, `f32`, `bf16`, `f16`. `auto` is bf16 on a GPU; on a CPU f32, but bf16 for large models where the processor multiplies in it.";
        rows: Option<usize> = "", "Pictures that are drawn at the same time at most. Without it what the device is thought to hold.";
    }
    /// How jobs are worked off.
    worker: WorkerSettings {
        work: bool = "true", "`imagine serve` draws too. False where `imagine worker` does it elsewhere.";
        worker_name: Option<String> = "", "Name in logs and job rows. Without it the machine's name and the process id.";
        worker_listen: Option<SocketAddr> = "", "Address on which `imagine worker` answers `/health/live`, `/health/ready` and `/metrics`, without a key. Without it it listens nowhere.";
        lease_seconds: u64 = "30", "A job whose worker has not been heard of for so long goes to another.";
        attempts: u32 = "3", "So often a job is begun at most.";
    }
    /// How ideas become prompts.
    expand: ExpandSettings {
        expander: String = "auto", "Backend of the prompt expansion, as `imagine expand --backend` takes it; `off` for none.";
        expand_by_default: bool = "true", "Expand a job's prompt where the request does not say.";
        search_url: Option<String> = "", "Search server on which ideas may be looked up, where the person asks for it: SearXNG, or an API like Brave's with `search_key`. Without it nothing is looked up.";
        search_key: Option<Secret> = "", "Key of the search server.";
    }
    /// What a client may ask for.
    limits: LimitSettings {
        photo_bytes: usize = "26214400", "Bytes of one photo.";
        photos: usize = "5", "Photos of a person.";
        pictures: u32 = "10", "Pictures of one job (`n`).";
        side: u32 = "2048", "Pixels along one side of a picture.";
        steps: u32 = "150", "Denoising steps.";
        prompt_chars: usize = "32000", "Characters of a prompt.";
        queued_jobs: u32 = "1000", "Jobs that may wait; beyond that 429.";
        queued_jobs_per_key: u32 = "200", "Jobs of one key that may wait, those of batches aside.";
        batch_bytes: usize = "16777216", "Bytes of a batch's file.";
        batch_lines: usize = "10000", "Lines of a batch.";
        requests_per_minute: u32 = "600", "Requests of one key in a minute, pictures and events aside; 0 for no limit.";
        photo_reads: usize = "2", "Photos that are decoded at the same time.";
        wait_seconds: u64 = "600", "How long a request of the OpenAI kind waits for its pictures.";
    }
    /// How long things are kept.
    keep: KeepSettings {
        keep_jobs_days: u32 = "0", "Days after which finished jobs and their pictures are deleted, favourites aside; 0 keeps them.";
        keep_one_shot_hours: u32 = "24", "Hours that photos and pictures handed in for one job wait for it at most: a job that was not begun by then fails with `expired`. 0 lets it wait for ever.";
    }
    /// The OpenAI-Images face.
    openai: OpenAiSettings {
        openai_aliases: Vec<String> = "gpt-image-1,gpt-image-1-mini,gpt-image-1.5,gpt-image-2,chatgpt-image-latest,dall-e-2,dall-e-3", "Model names that are taken for the loaded model, because clients have them built in.";
        openai_consent: bool = "false", "Selfies sent to `/v1/images/edits` count as consented without the `consent` field. Only for a server whose users have agreed elsewhere.";
    }
    /// Calls to the outside when a job has ended.
    webhooks: WebhookSettings {
        webhook_secret: Option<Secret> = "", "`whsec_…`: signs webhooks as Standard Webhooks does. Without it one is derived from the master key; `imagine keys webhook-secret` shows it.";
        webhook_allow_private: bool = "false", "Deliver to private and loopback addresses and over plain HTTP too. For development.";
    }
}
