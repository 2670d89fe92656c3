// What the service says and takes (docs: /docs of a running server). Times are Unix seconds, sizes pixels.

declare namespace Api {
  type List<T> = { object: "list"; data: T[]; has_more: boolean; next: string | null };

  type Face = { index: number; x: number; y: number; width: number; height: number };
  type PhotoProblem = { code: string; advice: string; blocks: boolean };
  type PhotoCheck = {
    width: number;
    height: number;
    faces: Face[];
    chosen: number | null;
    usable: boolean;
    problems: PhotoProblem[];
  };

  type Consent = { version: string; sha256: string; text: Record<string, string> };
  /** The text before somebody is remembered, and the one before a photo is used for one order. */
  type Consents = Consent & { once: Consent };
  type Person = {
    id: string;
    name: string;
    created: number;
    photos: { index: number; usable: boolean; problems: PhotoProblem[]; kept: boolean }[];
    consent: { basis: "self" | "authorised"; authorised_by?: string | null; text_version: string; time: number };
    encoder: string;
    embeddings: number;
    keep_photos: boolean;
    pictures: number;
    card: boolean;
  };
  type CardPart = {
    part: string;
    source: "measured" | "corrected" | "left_out" | "unknown";
    value: string | null;
    measured: string | null;
    numbers: number;
    confidence: number | null;
    input: "nothing" | "colour" | "choice" | "years";
    choices: string[];
  };
  type Card = { object: "card"; person: string; parts: CardPart[] };
  type CardPatch = { set?: Record<string, string>; without?: string[]; reset?: string[] };
  type Removed = { photos: number; embeddings: number; pictures: number; jobs: number };

  type Slot = "style" | "setting" | "wardrobe" | "light" | "camera" | "expression" | "pose";
  type Parts = { subject: string } & Record<Slot, string>;
  type Expansion = {
    prompt: string;
    negative_prompt: string;
    parts: Parts;
    people: number;
    language: string;
    backend: string;
    mode: string;
    dropped?: string[];
    note?: string | null;
    note_codes?: string[];
    sources?: Source[];
  };
  type Source = { title: string; url: string; snippet: string };
  /** What of a scene can be changed by hand. */
  type Touched = Partial<Parts> & { negative_prompt?: string };

  type Stage = { steps: [number, number]; scale: number };
  type JobPerson = {
    person: string;
    scale?: number;
    steps?: [number, number];
    stages?: Stage[];
    card_scale?: Record<string, number>;
    box?: [number, number, number, number];
    /** PNG in base64, white where the person is, in the place of a box; is not handed out again. */
    mask?: string;
  };
  /** `image` is left out where the picture came as a file. */
  type Edit = { image?: string; strength: number; mask?: string; keep_face?: boolean; feather?: number };
  type JobRequest = {
    prompt: string;
    negative_prompt?: string;
    people?: JobPerson[];
    model?: string;
    n?: number;
    size?: string;
    steps?: number;
    guidance_scale?: number;
    scheduler?: string;
    seed?: number;
    expand?: boolean | Expansion;
    ground?: boolean;
    style?: string;
    previews?: number;
    edit?: Edit;
  };
  type Output = {
    id: string;
    index: number;
    seed: number;
    url: string;
    width: number;
    height: number;
    likeness: (number | null)[];
    format: string;
    bytes: number;
  };
  type JobStatus = "queued" | "running" | "succeeded" | "failed" | "canceled";
  type Job = {
    id: string;
    status: JobStatus;
    created: number;
    started: number | null;
    finished: number | null;
    queue_position: number | null;
    progress: number;
    eta_seconds: number | null;
    attempts: number;
    input: JobRequest;
    expansion: Expansion | null;
    output: Output[];
    error: { code: string; message: string; rule?: string } | null;
    batch?: string | null;
    metrics?: { queue_seconds: number | null; run_seconds: number | null };
  };

  type Image = {
    id: string;
    job: string;
    index: number;
    seed: number;
    width: number;
    height: number;
    prompt: string;
    people: string[];
    likeness: (number | null)[];
    favourite: boolean;
    created: number;
    url: string;
    thumb_url: string;
  };

  type Batch = {
    id: string;
    status: string;
    created: number;
    counts: { total: number; queued: number; running: number; succeeded: number; failed: number; canceled: number };
  };

  type Model = {
    id: string;
    width: number;
    height: number;
    steps: number;
    guidance_scale: number;
    scheduler: string;
    schedulers: string[];
    width_per_person: number;
    identity: { kind: string; regions: boolean; groups?: string[] } | null;
    sizes: string[];
    side_multiple: number;
    inpainting: boolean;
    default?: boolean;
  };
  type Style = { id: string; name: string; text: string };
  type Limits = {
    photo_bytes: number;
    photos: number;
    n: number;
    steps: number;
    expansion: boolean;
    search?: boolean;
    keep: { photos: boolean; jobs_days: number; one_shot_hours: number };
  };
}
